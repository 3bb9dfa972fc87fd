"""Model -> Model: the same network computed with quantized weights and layer inputs, chosen by path.

A pure transform of the parameter tree quantizes the weights, and an interceptor the inputs: a user's own Flax module
works unchanged. `quantizer_states` says where a scheme keeps what it learns (a step) or measures (a range).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax

from gecko_jax.keys import stream
from gecko_jax.models.blueprint import rules_as_json, with_step
from gecko_jax.models.quantized_inputs import check_input, check_seen, with_quantized_input
from gecko_jax.models.quantizer_states import (
    bypassed,
    bypasses_input,
    bypasses_weight,
    changed_ranges,
    check_measured,
    put_states,
    state_of,
    with_states_of,
    without_states,
)
from gecko_jax.models.removed_weights import MASKS, STATES, check_zero_stays
from gecko_jax.models.rules import check_rule, planned, warn_of_unreached
from gecko_jax.models.trace import kernel_of, layer_input, traced
from gecko_jax.programs import layer_path
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Model, Rule


def quantized(model: Model, rules: Sequence[Rule | tuple], float_layers: Sequence[str] = ("first", "last")) -> Model:
    """Quantizes the weights and inputs of the layers that rules name.

    Args:
      model: any float model made of Linen modules.
      rules: [Rule(path=regular expression, weight=quantizer or None, input=quantizer or None)], or such tuples; the
        first rule whose expression matches a layer's path ("block/Dense_0") applies. Weights are the layer's "kernel"
        (or "embedding"), inputs its first argument; biases and normalization stay float. Scales lie along each layer's
        own outputs (`models.axes`), and layers that nn.scan or nn.vmap stacks are quantized one by one.
      float_layers: which layers the rules never touch: "first" and "last" (by call order), or (). A stack of layers is
        called by one path, and stays in float as a whole.

    Returns:
      A model with the same parameter names; binary inputs of a padded convolution are padded with +1. After an update
      the quantizers' projections come first (BinaryConnect's clip), then the model's own `after_update` hooks in their
      order, which therefore have the last word: a pruning mask holds, and an average is of projected weights. Its
      `rates` and the quantizers' are multiplied. A mask sets latent weights: a binary quantizer still makes +1 of a
      latent 0, a ternary one keeps the 0.

    Raises:
      ValueError: an invalid expression, a quantizer that cannot serve inputs, an unknown entry of `float_layers`, a
        model that is quantized already. In every call, and so in trace, pack and cost: a rule that holds
        for no layer, or for none that an earlier rule has left; layers that cannot be seen or whose inputs were not
        quantized, because another tool replaced their calls; inputs that cannot be quantized (integers; a layer that
        borders +-1 with zeros); an input quantizer that learns, inside nn.jit, nn.remat, nn.scan or nn.vmap.

    Warns:
      UserWarning: weights of two axes or more that stay in float though a rule's expression is found at their path (the
        gates of nn.OptimizedLSTMCell, parameters of no layer); `float_weights` lists all that stay in float.

    >>> from gecko_jax import models, quantizers
    >>> rules = [Rule(path="dense", weight=quantizers.binary(), input=quantizers.binary())]
    >>> model = quantized(models.create("mlp", 10, hidden=(32, 32), activation="identity", normalize=True), rules)
    """
    if isinstance(float_layers, str) or not isinstance(float_layers, Iterable):
        raise ValueError(f'float_layers={float_layers!r} must be a list, such as ("first", "last"), ("first",) or ().')
    if not isinstance(rules, Iterable):
        raise ValueError(f"rules={rules!r} must be a list, also of one: [(path, weight quantizer, input quantizer)].")
    rules, float_layers = tuple(check_rule(rule) for rule in rules), tuple(float_layers)
    unknown = set(float_layers) - {"first", "last"}
    if unknown:
        raise ValueError(f'float_layers={float_layers!r} may hold "first" and "last"; not {sorted(unknown)}.')
    if model.rules:
        raise ValueError("model is quantized already; pass all rules at once, the first match holds.")

    def plan_of(variables, x):
        """Returns what the rules do, a function of shapes alone."""
        variables = without_states(variables)
        return planned(rules, float_layers, traced(model, variables, x), variables["params"])

    def weights(variables, x):
        plan = plan_of(variables, x)
        warn_of_unreached(plan)
        return plan.weights

    def init(key, x):
        variables = model.init(key, x)
        if STATES in variables["params"] or RANGES in variables:
            raise ValueError(
                f"model has a layer {STATES!r} or a collection {RANGES!r}, the places of what quantizers learn and "
                "measure; rename it."
            )
        plan, states = plan_of(variables, x), {}
        warn_of_unreached(plan)
        check_zero_stays([name for name in variables.get(MASKS, {}) if name in plan.weights], rules)
        for name, leaf in named_leaves(variables["params"]):
            if quantizer := plan.weights.get(name):
                states[f"weight:{name}"] = quantizer, quantizer.init(leaf)

        def observe(next_fun, args, kwargs, context):
            if (path := _layer_of(context)) in plan.rules and (quantizer := plan.rules[path].input):
                seen = layer_input(args, kwargs)
                check_input(quantizer, seen, context.module)
                if f"input:{path}" not in states:  # a layer called twice: from its first call
                    states[f"input:{path}"] = quantizer, quantizer.init(seen)
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(observe), traced_under(_key(plan, "observe")):
            model.apply(variables, x)
        return put_states(variables, states)

    def apply(variables, x, *, key=None, train=False):
        stored, variables = variables, without_states(variables)
        plan = plan_of(variables, x)
        warn_of_unreached(plan)

        def quantize_weight(name, leaf):
            if (quantizer := plan.weights.get(name)) is None or bypasses_weight(name):
                return leaf
            draw = stream(key, STATES, name) if train and key is not None else None
            return quantizer.apply(state_of(quantizer, stored, f"weight:{name}", leaf), leaf, key=draw)

        seen, measured = set(), {}

        def quantize_input(next_fun, args, kwargs, context):
            path = _layer_of(context)
            quantizer = plan.rules[path].input if path in plan.rules else None
            if path is None or quantizer is None:
                return next_fun(*args, **kwargs)

            def inner(x_hat):
                if args:
                    return next_fun(x_hat, *args[1:], **kwargs)
                return next_fun(**{**kwargs, next(iter(kwargs)): x_hat})

            seen.add(path)
            value, name = layer_input(args, kwargs), f"input:{path}"
            if bypasses_input(quantizer, path, value):
                return next_fun(*args, **kwargs)
            state = measured[name] if name in measured else state_of(quantizer, stored, name, value)
            if quantizer.observe and train:
                state = measured[name] = quantizer.observe(state, value)
            check_measured(quantizer, state, path)
            return with_quantized_input(quantizer, state, value, inner, context.module)

        def run(variables, x):
            with nn.intercept_methods(quantize_input):
                return model.apply(variables, x, key=key, train=train)

        variables = {**variables, "params": map_named(quantize_weight, variables["params"])}
        with traced_under(_key(plan, rules, float_layers)):
            outputs, updates = run(variables, x)
        updates = {**updates, **changed_ranges(stored, measured)}
        inputs = {path for path, rule in plan.rules.items() if rule.input}
        if inputs - seen:  # nn.jit may have kept its program from an equal call; what is hidden does not show again
            with traced_under(_key(plan, object())):
                jax.eval_shape(lambda variables, x: run(variables, x)[0], variables, x)
        check_seen(sorted(inputs - seen))
        return outputs, updates

    def per_weight(variables, x, default, of):
        """Maps of(quantizer) over the parameters that a rule quantizes, and `default` over the others."""
        quantizers = plan_of(variables, x).weights

        def choose(name, leaf):
            function = of(quantizers[name]) if name in quantizers else None
            return function(leaf) if function else default(leaf)

        return map_named(choose, variables["params"])

    def project(variables, x):
        return {**variables, "params": per_weight(variables, x, lambda leaf: leaf, lambda q: q.project)}

    def changing(hook):
        """A hook of the model, which knows nothing of what the quantizers learn."""
        return lambda variables, x: with_states_of(hook(without_states(variables), x), variables)

    def scaling(factors):
        def with_states(variables, x):
            ones = jax.tree.map(lambda leaf: 1.0, variables["params"].get(STATES, {}))
            return {**factors(without_states(variables), x), **({STATES: ones} if ones else {})}

        return with_states

    def rates(variables, x):
        return per_weight(variables, x, lambda leaf: 1.0, lambda q: q.rate)

    schemes = [rule.weight for rule in rules if rule.weight]
    transformed = Model(
        init,
        apply,
        rules,
        lambda variables, x: plan_of(variables, x).skipped,
        weights,
        after_update=(*([project] if any(q.project for q in schemes) else []), *map(changing, model.after_update)),
        rates=(*([rates] if any(q.rate for q in schemes) else []), *map(scaling, model.rates)),
    )
    settings = {"rules": rules_as_json(rules), "float_layers": float_layers}
    return with_step(transformed, "quantized", settings, before=model.blueprint)


def _key(plan, *parts) -> Any:
    """Returns a key for programs that layers keep themselves (nn.jit); None if no input inside of one is quantized."""
    return (*parts, bypassed(), surroundings()) if plan.nested else None


def _layer_of(context: nn.module.InterceptorContext) -> str | None:
    """Returns the path of the layer whose call is intercepted; None if the layer does not own a kernel."""
    layer = context.method_name == "__call__" and kernel_of(context.module) is not None
    return layer_path(context.module) if layer else None
