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

from gecko_jax.keys import stream
from gecko_jax.models.convolution import hooked, padded_with_ones
from gecko_jax.models.trace import WEIGHTS, find_rule, kernel_of, layer_input, layer_path, trace
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Quantizer, Rule, Variables

STATES = "quantizers"


def quantized(model: Model, rules: Sequence[Rule | tuple], float_layers: Sequence[str] = ("first", "last")) -> Model:
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
      ValueError: an invalid expression, a quantiser that cannot serve inputs, an unknown entry of `float_layers`, a
        model that is quantised or averaged already; at init, a rule that matches no layer; at init and apply, inputs
        that cannot be quantised (integers; a layer that borders +-1 with zeros).

    >>> from gecko_jax import models, quantizers
    >>> rules = [("dense", quantizers.binary(), quantizers.binary())]
    >>> model = quantized(models.create("mlp", 10, hidden=(32, 32), activation="identity", normalize=True), rules)
    """
    rules = tuple(_checked(rule) for rule in rules)
    unknown = set(float_layers) - {"first", "last"}
    if unknown:
        raise ValueError(f'float_layers={tuple(float_layers)!r} may hold "first" and "last"; not {sorted(unknown)}.')
    if model.rules:
        raise ValueError("model is quantised already; pass all rules at once, the first match holds.")
    if model.project:
        raise ValueError(
            "model changes its variables after each update (as training.with_average does), and quantisation would "
            "stand in that place: quantise first, training.with_average(models.quantized(model, rules), decay)."
        )
    def order(variables, x):
        """Paths of the layers in call order; a function of shapes alone."""
        return tuple(call.path for call in trace(model, variables, x))

    def skipped(variables, x):
        paths = order(_without_states(variables), x)
        ends = {"first": paths[:1], "last": paths[-1:]}
        return frozenset(path for end in float_layers for path in ends[end])

    def reached(variables, x):
        """{path: rule} of the layers that are quantised."""
        skip = skipped(variables, x)
        found = {path: find_rule(rules, path) for path in order(_without_states(variables), x) if path not in skip}
        return {path: rule for path, rule in found.items() if rule}

    def weight_of(name, leaf, held):
        path, _, leaf_name = name.rpartition("/")
        return held[path].weight if path in held and leaf_name in WEIGHTS and leaf.ndim >= 2 else None

    def init(key, x):
        variables = model.init(key, x)
        if STATES in variables["params"]:
            raise ValueError(f"model has a layer {STATES!r}, the place of what quantisers learn; rename that layer.")
        held = reached(variables, x)
        _check_matched(rules, order(variables, x), held)
        states = {}
        for name, leaf in named_leaves(variables["params"]):
            if quantizer := weight_of(name, leaf, held):
                states[f"weight:{name}"] = quantizer.init(leaf)

        def observe(next_fun, args, kwargs, context):
            path = layer_path(context.module)
            if path in held and _is_layer(context) and (quantizer := held[path].input):
                given = layer_input(args, kwargs)
                _check_input(quantizer, given, context.module)
                states.setdefault(f"input:{path}", quantizer.init(given))  # a layer called twice: from its first call
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(observe):
            model.apply(variables, x)
        states = {name: state for name, state in states.items() if jax.tree.leaves(state)}
        return {**variables, "params": {**variables["params"], STATES: states}} if states else variables

    def apply(variables, x, *, key=None, train=False):
        states = variables["params"].get(STATES, {})
        variables = _without_states(variables)
        held = reached(variables, x)

        def quantise_weight(name, leaf):
            quantizer = weight_of(name, leaf, held)
            if quantizer is None:
                return leaf
            draw = stream(key, STATES, name) if train and key is not None else None
            return quantizer.apply(states.get(f"weight:{name}", ()), leaf, key=draw)

        def quantise_input(next_fun, args, kwargs, context):
            path = layer_path(context.module)
            if path not in held or not _is_layer(context) or held[path].input is None:
                return next_fun(*args, **kwargs)

            def inner(x_hat):
                if args:
                    return next_fun(x_hat, *args[1:], **kwargs)
                return next_fun(**{**kwargs, next(iter(kwargs)): x_hat})

            state = states.get(f"input:{path}", ())
            return _with_quantised_input(held[path].input, state, layer_input(args, kwargs), inner, context.module)

        params = map_named(quantise_weight, variables["params"])
        with nn.intercept_methods(quantise_input):
            return model.apply({**variables, "params": params}, x, key=key, train=train)

    def per_weight(variables, x, default, of):
        """of(quantiser)(leaf) for each parameter that a rule quantises; default(leaf) where there is none."""
        held = reached(variables, x)

        def choose(name, leaf):
            quantizer = weight_of(name, leaf, held)
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


def _check_matched(rules: tuple[Rule, ...], paths: tuple[str, ...], held: dict[str, Rule]) -> None:
    for rule in rules:
        if not any(other is rule for other in held.values()):
            taken = "; ".join(f"{path}: {held[path].path!r}" if path in held else f"{path}: float" for path in paths)
            raise ValueError(
                f"rules: {rule.path!r} holds for no layer (the first match holds, float_layers before all). "
                f"Layers and what holds for them: {taken or 'none'}."
            )


def _check_input(quantizer: Quantizer, x: Array, layer: nn.Module) -> None:
    path, kind = layer_path(layer), type(layer).__name__
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"rules: input {quantizer.name!r} at {path!r} ({kind}), whose inputs are {x.dtype}: indices cannot be "
            "quantised. Give that layer a rule of its own, with input None, before this one."
        )
    if quantizer.bits > 1:
        return
    zeros = isinstance(layer, (nn.ConvTranspose, nn.ConvLocal))
    if isinstance(layer, nn.Conv):
        dilated = any(d != 1 for d in jax.tree.leaves(layer.input_dilation))
        zeros = layer.padding == "CAUSAL" or dilated or layer.conv_general_dilated_cls is not None
    if zeros:
        raise ValueError(
            f"rules: input {quantizer.name!r} at {path!r} ({kind}): a transposed, local, causal, input-dilated or "
            "custom convolution pads with zeros, which +-1 has not. Pad the layer's input yourself and convolve with "
            "nn.Conv(padding='VALID'), or leave its input in float."
        )


def _without_states(variables: Variables) -> dict[str, Any]:
    params = {name: leaf for name, leaf in variables["params"].items() if name != STATES}
    return {**variables, "params": params}


def _is_layer(context: nn.module.InterceptorContext) -> bool:
    return context.method_name == "__call__" and kernel_of(context.module) is not None


def _with_quantised_input(quantizer: Quantizer, state: Any, x: Array, inner, layer: nn.Module) -> Array:
    _check_input(quantizer, x, layer)  # here too: a float model's variables may come without this model's init
    x_hat = quantizer.apply(state, x)
    if quantizer.bits == 1 and isinstance(layer, nn.Conv):
        with hooked(layer, padded_with_ones):
            y = inner(x_hat)
    else:
        y = inner(x_hat)
    if quantizer.gain is None:
        return y
    gain = quantizer.gain(x, layer)
    if not layer.has_variable("params", "bias"):
        return y * gain
    bias = layer.get_variable("params", "bias")
    bias = bias.reshape((1,) * (y.ndim - bias.ndim) + bias.shape)
    return (y - bias) * gain + bias
