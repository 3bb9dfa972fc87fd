"""Model -> Model: the same network computed with quantised weights and layer inputs, chosen by path.

Weights by a pure transform of the parameter tree, inputs by an interceptor, so that a user's own Flax module works
unchanged. What a scheme learns (a step, a range) lives in params["quantizers"] and is trained with the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax.models.convolution import hooked, padded_with_ones
from gecko_jax.models.trace import WEIGHTS, find_rule, kernel_of, layer_path, trace
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Quantizer, Rule, Variables

STATES = "quantizers"


def quantized(
    model: Model, rules: Sequence[Rule | tuple], float_layers: Sequence[str] = ("first", "last")
) -> Model:
    """The model under quantisation rules.

    Args:
      model: any float model made of Linen modules.
      rules: [(path regex, weight quantiser | None, input quantiser | None)]; the first whose expression is found in a
        layer's path ("block/Dense_0") holds. Weights are the layer's "kernel" (or "embedding"), inputs its first
        argument; biases and normalisation stay float.
      float_layers: which layers the rules never touch: "first" and "last" (by call order), or ().

    Returns:
      A model with the same parameter names; binary inputs of a padded convolution are padded with +1.

    Raises:
      ValueError: an invalid expression, a quantiser that cannot serve inputs, an unknown entry of `float_layers`; at
        init, a rule that matches no layer.
    """
    rules = tuple(_checked(rule) for rule in rules)
    unknown = set(float_layers) - {"first", "last"}
    if unknown:
        raise ValueError(f'float_layers={tuple(float_layers)!r} may hold "first" and "last"; not {sorted(unknown)}.')
    if model.rules:
        raise ValueError("model is quantised already; pass all rules at once, the first match holds.")
    orders: dict[Any, tuple[str, ...]] = {}  # call order of the layers; a function of shapes alone

    def order(variables, x):
        shapes = jax.tree.map(jnp.shape, variables)
        key = (str(shapes), tuple(x.shape[1:]))
        if key not in orders:
            orders[key] = tuple(call.path for call in trace(model, variables, x))
        return orders[key]

    def skipped(variables, x):
        paths = order(_without_states(variables), x)
        ends = {"first": paths[:1], "last": paths[-1:]}
        return frozenset(path for end in float_layers for path in ends[end])

    def rule_of(path, skip):
        return None if path in skip else find_rule(rules, path)

    def weight_rule(name, leaf, skip):
        path, _, leaf_name = name.rpartition("/")
        rule = rule_of(path, skip) if leaf_name in WEIGHTS and leaf.ndim >= 2 else None
        return rule.weight if rule else None

    def init(key, x):
        variables = model.init(key, x)
        skip = skipped(variables, x)
        _check_matched(rules, order(variables, x), skip)
        states = {}
        for name, leaf in named_leaves(variables["params"]):
            if quantizer := weight_rule(name, leaf, skip):
                states[f"weight:{name}"] = quantizer.init(leaf)

        def observe(next_fun, args, kwargs, context):
            if _is_layer(context) and (rule := rule_of(layer_path(context.module), skip)) and rule.input:
                states[f"input:{layer_path(context.module)}"] = rule.input.init(args[0])
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(observe):
            model.apply(variables, x)
        states = {name: state for name, state in states.items() if jax.tree.leaves(state)}
        return {**variables, "params": {**variables["params"], STATES: states}} if states else variables

    def apply(variables, x, *, key=None, train=False):
        states = variables["params"].get(STATES, {})
        variables = _without_states(variables)
        skip = skipped(variables, x)
        draws = iter(jax.random.split(key, len(named_leaves(variables["params"])))) if key is not None else None

        def quantise_weight(name, leaf):
            draw = next(draws) if draws is not None else None
            quantizer = weight_rule(name, leaf, skip)
            if quantizer is None:
                return leaf
            return quantizer.apply(states.get(f"weight:{name}", ()), leaf, key=draw if train else None)

        def quantise_input(next_fun, args, kwargs, context):
            path = layer_path(context.module)
            rule = rule_of(path, skip) if _is_layer(context) else None
            if rule is None or rule.input is None:
                return next_fun(*args, **kwargs)
            inner = lambda x_hat: next_fun(x_hat, *args[1:], **kwargs)  # noqa: E731
            state = states.get(f"input:{path}", ())
            return _with_quantised_input(rule.input, state, args[0], inner, context.module)

        params = map_named(quantise_weight, variables["params"])
        with nn.intercept_methods(quantise_input):
            return model.apply({**variables, "params": params}, x, key=key, train=train)

    def per_weight(variables, x, default, of):
        """of(quantiser)(leaf) for each parameter that a rule quantises; default(leaf) where there is none."""
        skip = skipped(variables, x)

        def choose(name, leaf):
            quantizer = None if name.startswith(STATES) else weight_rule(name, leaf, skip)
            function = of(quantizer) if quantizer else None
            return function(leaf) if function else default(leaf)

        return map_named(choose, variables["params"])

    def project(variables, x):
        return {**variables, "params": per_weight(variables, x, lambda leaf: leaf, lambda q: q.project)}

    def rates(variables, x):
        return per_weight(variables, x, lambda leaf: 1.0, lambda q: q.rate)

    weights = [rule.weight for rule in rules if rule.weight]
    return Model(
        init,
        apply,
        rules,
        skipped,
        project if any(q.project for q in weights) else None,
        rates if any(q.rate for q in weights) else None,
    )


def _checked(rule: Rule | tuple) -> Rule:
    rule = Rule(*rule)
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
            "the examples of a batch. For inputs take binary(), xnor_input() or uniform(bits, max_abs=...)."
        )
    return rule


def _check_matched(rules: tuple[Rule, ...], paths: tuple[str, ...], skip: frozenset[str]) -> None:
    for rule in rules:
        if not any(find_rule(rules, path) is rule for path in paths if path not in skip):
            raise ValueError(
                f"rules: {rule.path!r} holds for no layer. Layers: {', '.join(paths)}; left in float: "
                f"{', '.join(sorted(skip)) or 'none'} (float_layers)."
            )


def _without_states(variables: Variables) -> dict[str, Any]:
    params = {name: leaf for name, leaf in variables["params"].items() if name != STATES}
    return {**variables, "params": params}


def _is_layer(context: nn.module.InterceptorContext) -> bool:
    return context.method_name == "__call__" and kernel_of(context.module) is not None


def _with_quantised_input(quantizer: Quantizer, state: Any, x: Array, inner, layer: nn.Module) -> Array:
    x_hat = quantizer.apply(state, x)
    if quantizer.bits == 1 and isinstance(layer, nn.Conv):
        with hooked(layer, padded_with_ones):
            y = inner(x_hat)
    else:
        y = inner(x_hat)
    if quantizer.gain is None:
        return y
    bias = layer.get_variable("params", "bias") if layer.has_variable("params", "bias") else 0.0
    return (y - bias) * quantizer.gain(x, layer) + bias
