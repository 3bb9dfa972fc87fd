"""Decides which rule applies to which layer, and refuses a rule that reaches none.

A rule that reaches nothing is a typo, and its results would read as "binarization costs nothing". It is an error in
every call of a quantized model and not only in init, because trained variables often come without the model's init.
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from typing import Any, NamedTuple

import jax

from gecko_jax.models.axes import bound
from gecko_jax.models.trace import Traced, find_rule
from gecko_jax.surroundings import replaced
from gecko_jax.trees import named_leaves
from gecko_jax.types import Quantizer, Rule, Variables

MAX_NAMES = 12  # in a message


class Plan(NamedTuple):
    """What rules do to one model.

    Attributes:
      rules: {path: rule} of the layers that are quantized.
      skipped: paths of the layers that `float_layers` leaves in float.
      weights: {name of a parameter: its quantizer, for the weight as it is stored}.
      unreached: {rule's expression: the weights at its path that stay in float}.
      nested: paths of the quantized layers whose inputs lie in a program of their own.
    """

    rules: dict[str, Rule]
    skipped: frozenset[str]
    weights: dict[str, Quantizer]
    unreached: dict[str, list[str]]
    nested: frozenset[str]


def check_rule(rule: Rule | tuple) -> Rule:
    """Returns a Rule from a tuple (path, weight quantizer, input quantizer), of which the last two may be left out.

    Raises:
      ValueError: anything else, an invalid expression, or an input quantizer that cannot serve inputs.
    """
    if not isinstance(rule, tuple) or not 1 <= len(rule) <= 3 or not isinstance(rule[0], (str, re.Pattern)):
        raise ValueError(
            f"rules: {rule!r} is not a rule; expected a list of (path, weight quantizer, input quantizer), for example "
            '[models.Rule(path="dense", weight=quantizers.xnor())].'
        )
    parts: Any = rule
    rule = Rule(*parts)
    try:
        re.compile(rule.path)
    except re.error as error:
        raise ValueError(f"rules: {rule.path!r} is not a regular expression: {error}.") from error
    for name, quantizer in (("weight", rule.weight), ("input", rule.input)):
        if quantizer is not None and not isinstance(quantizer, Quantizer):
            raise ValueError(f"rules: {name}={quantizer!r} for {rule.path!r}; expected a Quantizer or None.")
    if rule.input is not None and not rule.input.inputs:
        raise ValueError(
            f"rules: {rule.input.name!r} for {rule.path!r} serves weights alone: over a layer's inputs it would couple "
            "the examples of a batch. For inputs take binary(), uniform(bits, max_abs=...), or one of "
            "gecko_jax.quantizers whose name ends in _input, such as xnor_input()."
        )
    if rule.weight is not None and not rule.weight.weights:
        raise ValueError(
            f"rules: {rule.weight.name!r} for {rule.path!r} serves inputs alone: its grid is that of a layer's inputs. "
            "For weights take the scheme without _input, such as int8() or lsq(bits)."
        )
    return rule


def weight_names(traced: Traced, params: Variables) -> list[str]:
    """Returns the parameters of two axes or more, as their module sees them, without biases and normalizations."""
    leaves = [(name, traced.ranks.get(name, len(leaf.shape))) for name, leaf in named_leaves(params)]
    return [name for name, rank in leaves if rank > 1 and name.rpartition("/")[2] != "bias"]


def planned(rules: tuple[Rule, ...], float_layers: tuple[str, ...], traced: Traced, params: Variables) -> Plan:
    """Plans what the rules do to a model.

    Args:
      rules, float_layers: as of `models.quantized`.
      traced: the float model's forward pass.
      params: the float model's parameters (or their shapes).

    Raises:
      ValueError: a rule that reaches nothing; layers that cannot be seen, because another tool has replaced what their
        calls do; a lifted weight whose axes cannot be told; a learned input range inside a program of its own.
    """
    order = tuple(dict.fromkeys(call.path for call in traced.calls))
    ends = {"first": order[:1], "last": tuple(call.path for call in traced.calls[-1:])}
    skipped = frozenset(path for end in float_layers for path in ends[end])
    first = {path: find_rule(rules, path) for path in order if path not in skipped}
    in_force = {path: rule for path, rule in first.items() if rule}
    names = weight_names(traced, params)
    _check_visible(rules, traced, names)

    loose = {name: name.rpartition("/")[0] for name in names if name not in traced.axes}
    loose = {name: _rule_at(rules, name) for name, owner in loose.items() if owner not in skipped}
    _check_matched(rules, order, in_force, skipped, {name: rule for name, rule in loose.items() if rule})
    unreached: dict[str, list[str]] = {}
    for name, rule in loose.items():
        if rule and (rule.weight or rule.input):
            unreached.setdefault(rule.path, []).append(name)

    owners = {name: name.rpartition("/")[0] for name in names}
    quantizers = {name: in_force[owner].weight for name, owner in owners.items() if owner in in_force}
    weights = {}
    for name, leaf in named_leaves(params):
        if (quantizer := quantizers.get(name)) is not None and name in traced.axes:
            if (axes := traced.axes[name]) is None:
                raise ValueError(
                    f"rules: the layer of {name!r} {tuple(leaf.shape)} sees a part of it, and which axes are that "
                    "layer's own cannot be told. Lift the layer by nn.scan or nn.vmap, or leave it in float by a rule "
                    "without quantizers before the others."
                )
            weights[name] = bound(quantizer, axes, tuple(leaf.shape))
    nested = frozenset(path for path, rule in in_force.items() if rule.input and path in traced.nested)
    _check_no_learned_input(in_force, nested, traced)
    return Plan(in_force, skipped, weights, unreached, nested)


def warn_of_unreached(plan: Plan) -> None:
    """Warns of weights that stay in float although a rule's expression matches their path."""
    for expression, names in plan.unreached.items():
        owners = {name.rpartition("/")[0] for name in names}
        place = "/".join(os.path.commonprefix([owner.split("/") for owner in owners])) or names[0]
        warnings.warn(
            f"rules: {expression!r} is found at {len(names)} weights that stay in float, and that costs count as "
            f"float, because they belong to no layer that owns a kernel and computes with it: {_listed(names)}. Take "
            "layers that do (nn.LSTMCell for nn.OptimizedLSTMCell), or say that they stay in float by a rule "
            f"without quantizers before this one: models.Rule(path={place!r}).",
            UserWarning,
            stacklevel=3,
        )


def _rule_at(rules: tuple[Rule, ...], name: str) -> Rule | None:
    """Returns the first rule whose expression matches a parameter's name or its owner's path."""
    owner = name.rpartition("/")[0]
    return next((rule for rule in rules if re.search(rule.path, owner) or re.search(rule.path, name)), None)


def _check_visible(rules: tuple[Rule, ...], traced: Traced, names: list[str]) -> None:
    hidden = [name for name in names if name not in traced.ranks]
    if rules and hidden and (tools := replaced()):
        raise ValueError(
            f"rules: the layers of {_listed(hidden)} cannot be seen, because another tool has replaced "
            f"{_listed(['nn.' + '.'.join(filter(None, key)) for key, _ in tools])}. Call the model once on the same "
            "shapes before that tool starts, or give it models.from_linen(module) with the weights of integer.unpack."
        )


def _check_matched(
    rules: tuple[Rule, ...],
    paths: tuple[str, ...],
    in_force: dict[str, Rule],
    skipped: frozenset[str],
    loose: dict[str, Rule],
) -> None:
    for rule in rules:
        if any(other is rule for other in in_force.values()):
            continue
        at = [name for name, other in loose.items() if other is rule]
        if at and rule.weight is None and rule.input is None:
            continue  # it says that these weights stay in float
        taken = {path: f"{path}: {in_force[path].path!r}" if path in in_force else f"{path}: float" for path in paths}
        near = difflib.get_close_matches(rule.path, paths, n=1, cutoff=0.3)
        reasons = [f" Did you mean {near[0]!r}?"] if near and near[0] != rule.path else []
        if reached := [path for path in paths if path in skipped and re.search(rule.path, path)]:
            reasons.append(f" float_layers keeps {_listed(reached)} in float.")
        if earlier := [path for path in paths if path in in_force and re.search(rule.path, path)]:
            reasons.append(f" An earlier rule holds for {_listed(earlier)}: put this one before it.")
        if at:
            reasons.append(f" It is found at weights that belong to no layer with a kernel: {_listed(at)}.")
        raise ValueError(
            f"rules: {rule.path!r} holds for no layer (the first match holds, float_layers before all)."
            f"{''.join(reasons)} Layers and what holds for them: {'; '.join(taken.values()) or 'none'}."
        )


def _check_no_learned_input(in_force: dict[str, Rule], nested: frozenset[str], traced: Traced) -> None:
    for call in traced.calls:
        quantizer = in_force[call.path].input if call.path in nested else None
        shape = jax.ShapeDtypeStruct(call.input, "float32")
        if quantizer and jax.tree.leaves(jax.eval_shape(quantizer.init, shape)):
            raise ValueError(
                f"rules: input {quantizer.name!r} at {call.path!r} learns a state, and that layer runs inside "
                "nn.jit, nn.remat, nn.scan or nn.vmap, where no state can be made or told apart. Take an input "
                "quantizer without a state there, such as uniform(bits, max_abs=...)."
            )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
