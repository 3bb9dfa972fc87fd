"""Post-training quantization: each weight is rounded up or down so that a layer, or a block, computes what it did.

AdaRound is one layer a block; BRECQ names blocks of several layers. Nothing else is trained, and a few hundred rows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gecko_jax import checks, keys
from gecko_jax.models.calibration import with_weight_states
from gecko_jax.models.quantized_layers import weight_codes, weight_quantizers
from gecko_jax.models.quantizer_states import Bypass, bypassing, state_of
from gecko_jax.models.trace import trace
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import traced_under
from gecko_jax.trees import map_named, named_leaves, take
from gecko_jax.types import Array, Model, Quantizer, Variables

LEARNING_RATE = 3e-2
STRETCH, SHIFT = 1.2, -0.1  # of the rectified sigmoid, AdaRound eq. 23
ROUNDING_WEIGHT = 1.0  # of the regularizer, in units of the block's error under nearest rounding for each weight
FIRST_POWER, LAST_POWER = 20.0, 2.0  # of the regularizer, beta
FREE_SHARE = 0.2  # of the steps, before the regularizer acts


class _Grid(NamedTuple):
    """One weight's grid: what it is a multiple of, the integers below it, the ends."""

    step: Array
    below: Array
    lowest: int
    highest: int


def reconstruct(
    model: Model,
    variables: Variables,
    x: Any,
    blocks: Sequence[str] | None = None,
    steps: int = 500,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, Any]:
    """Rounds the weights of a quantized model block by block, so that each block's outputs stay those of the float one.

      minimize E |f(x; w_hat) - f(x; w)|^2 + lambda sum(1 - |2 h(v) - 1|^beta),    w_hat = s clip(floor(w / s) + h(v))

    f is the block's output, with the blocks before it rounded already and inputs quantized as the rules say. h is the
    rectified sigmoid of a number v for each weight, which Adam trains; beta falls until every h is 0 or 1.

    The result depends on x. In private training x must be public: nothing here is noised.

    Args:
      model: a quantized model whose weights have a learned step: `quantizers.lsq(bits, per_channel=True, start="mse")`,
        with narrow=True and 2 bits for ternary weights. If its inputs are quantized, `calibrate` comes first.
      variables: its own, or those of the float network that it quantizes, trained.
      x: inputs [n, ...], any pytree.
      blocks: paths of modules whose outputs are kept, each with all layers below it, in call order (BRECQ without its
        Fisher weights); None: every quantized layer by itself (AdaRound).
      steps: of a block.
      batch_size: rows of a step, drawn at random.
      seed: of the draws.

    Returns:
      The variables, with weights that lie on the grid: quantizing changes them no more. Biases and steps stay.

    Raises:
      ValueError: a model without quantized weights, a scheme without a learned step, a block that is not called, holds
        no quantized weight, overlaps another, or leaves a quantized weight in no block.

    Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020 (arXiv 2004.10568);
    Li et al., "BRECQ", ICLR 2021 (arXiv 2102.05426).

    >>> from gecko_jax import models, quantizers
    >>> net, x = models.create("mlp", 2, hidden=()), np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    >>> model = models.quantized(net, [("", quantizers.lsq(2, start="max"), None)], float_layers=())
    >>> rounded = reconstruct(model, net.init(jax.random.key(0), x), x, steps=1)
    >>> len(np.unique(rounded["params"]["logits"]["kernel"])) <= 4
    True
    """
    checks.integer("steps", steps, 1)
    count, one = len(checks.not_empty("x", jax.tree.leaves(x)[0])), take(x, slice(0, 1))
    checks.integer("batch_size", batch_size, 1)
    original = variables = with_weight_states(model, variables, one)
    quantizers = weight_quantizers(model, variables, one)
    _check_steps(quantizers, variables)
    draws = keys.generator(seed, "reconstruction")
    order = [call.path for call in trace(model, variables, one)]
    for block, names in _plan(quantizers, blocks, order).items():
        codes = weight_codes(model, variables, one)
        grids = {name: _grid(quantizers[name], variables, name, codes[name].scale) for name in names}
        rows = np.stack([draws.choice(count, min(batch_size, count), replace=False) for _ in range(steps)])
        batches = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], x)  # noqa: B023
        variables = _round_block(model, block, grids, (original, variables), batches)
    return variables


def _plan(quantizers: dict[str, Quantizer], blocks: Sequence[str] | None, order: list[str]) -> dict[str, list[str]]:
    """Returns {path of a block: names of its quantized weights}; `order` holds the layers' paths in call order."""
    if not quantizers:
        raise ValueError("model has no quantized weights: pass models.quantized(model, rules) with weight quantizers.")
    if blocks is None:
        owners = {name.rpartition("/")[0]: [name] for name in quantizers}
        return {path: owners[path] for path in dict.fromkeys(order) if path in owners}
    if isinstance(blocks, str):
        raise ValueError(f"blocks={blocks!r} must be a list of paths, such as ['block1', 'block2'].")
    plan: dict[str, list[str]] = {}
    for block in blocks:
        plan[block] = [name for name in quantizers if name.startswith(f"{block}/") or not block]
        if not plan[block]:
            raise ValueError(f"blocks: {block!r} holds none of the quantized weights {checks.listed(quantizers)}.")
    owned = [name for names in plan.values() for name in names]
    if twice := sorted({name for name in owned if owned.count(name) > 1}):
        raise ValueError(f"blocks: {checks.listed(twice)} lie in two of {list(blocks)}; each needs one block.")
    if loose := [name for name in quantizers if name not in owned]:
        raise ValueError(
            f"blocks: {checks.listed(loose)} lie in no block, and would be rounded to nearest. Add theirs."
        )
    return plan


def _check_steps(quantizers: dict[str, Quantizer], variables: Variables) -> None:
    leaves = dict(named_leaves(variables["params"]))
    for name, quantizer in quantizers.items():
        state = state_of(quantizer, variables, f"weight:{name}", leaves[name])
        if not isinstance(state, dict) or "step" not in state:
            raise ValueError(
                f"{name!r} is quantized by {quantizer.name!r}, whose scale follows the weights, and would move with "
                'them. Take one with a step of its own: quantizers.lsq(bits, per_channel=True, start="mse").'
            )


def _grid(quantizer: Quantizer, variables: Variables, name: str, step: Array) -> _Grid:
    weight = dict(named_leaves(variables["params"]))[name]
    weight = weight.astype(jnp.promote_types(weight.dtype, jnp.float32))
    state = state_of(quantizer, variables, f"weight:{name}", weight)
    assert quantizer.codes is not None
    lowest, highest = (int(quantizer.codes(state, jnp.full_like(weight, end)).values.min()) for end in (-1e30, 1e30))
    return _Grid(step, jnp.floor(jnp.clip(weight / step, lowest, highest)), lowest, highest)


def _outputs(model: Model, block: str, variables: Variables, rows: Any) -> Array:
    """Returns the output of a module's (first) call in evaluation."""
    outputs: list[Any] = []

    def note(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name == "__call__" and layer_path(context.module) == block:
            outputs.append(output)
        return output

    with nn.intercept_methods(note), traced_under(object()):
        model.apply(variables, rows)
    if not outputs or not hasattr(outputs[0], "shape"):
        raise ValueError(f"blocks: {block!r} is not a module of the network whose call returns one array.")
    return outputs[0]


def _round_block(
    model: Model, block: str, grids: dict[str, _Grid], nets: tuple[Variables, Variables], batches: Any
) -> dict[str, Any]:
    """Returns the variables with the weights of one block rounded.

    Args:
      model: the quantized model.
      block: path of the block.
      grids: of its weights.
      nets: (the variables in float, those with the blocks before rounded).
      batches: rows of each step, [steps, b, ...].
    """
    original, variables = nets
    leaves, steps = dict(named_leaves(variables["params"])), len(jax.tree.leaves(batches)[0])
    optimizer = optax.adam(LEARNING_RATE)

    def with_weights(variables, weights):
        params = map_named(
            lambda name, leaf: weights[name].astype(leaf.dtype) if name in weights else leaf, variables["params"]
        )
        return {**variables, "params": params}

    def error(weights, variables, rows, target):
        with bypassing(Bypass(weights=frozenset(grids))):
            outputs = _outputs(model, block, with_weights(variables, weights), rows)
        return jnp.mean(jnp.sum((outputs - target).reshape(outputs.shape[0], -1) ** 2, axis=-1))

    def float_outputs(original, rows):
        with bypassing(Bypass(weights=None, inputs=True)):
            return _outputs(model, block, original, rows)

    def loss(v, variables, rows, target, power, weight):
        shares = {name: _share(v[name]) for name in grids}
        undecided = sum(jnp.sum(1 - jnp.abs(2 * share - 1) ** power) for share in shares.values())
        soft = {name: _rounded(grids[name], shares[name]) for name in grids}
        return error(soft, variables, rows, target) + weight * undecided

    def decided(v):
        return {name: _rounded(grid, jnp.round(_share(v[name]))) for name, grid in grids.items()}

    @jax.jit
    def run(original, variables, v, batches):
        first = take(batches, 0)
        nearest = error(decided(v), variables, first, float_outputs(original, first))
        weight_of_each = ROUNDING_WEIGHT * nearest / sum(grid.below.size for grid in grids.values())

        def step(carry, inputs):
            (v, state), (number, rows) = carry, inputs
            done = jnp.clip((number / steps - FREE_SHARE) / (1 - FREE_SHARE), 0, 1)
            power = LAST_POWER + (FIRST_POWER - LAST_POWER) * 0.5 * (1 + jnp.cos(jnp.pi * done))
            weight = jnp.where(number < FREE_SHARE * steps, 0.0, weight_of_each)
            slopes = jax.grad(loss)(v, variables, rows, float_outputs(original, rows), power, weight)
            updates, state = optimizer.update(slopes, state, v)
            moved: Any = optax.apply_updates(v, updates)
            return (moved, state), None

        (v, _), _ = jax.lax.scan(step, (v, optimizer.init(v)), (jnp.arange(steps), batches))
        return decided(v)

    start = {name: _unshare(leaves[name] / grid.step - grid.below) for name, grid in grids.items()}
    return with_weights(variables, run(original, variables, start, batches))


def _rounded(grid: _Grid, share: Array) -> Array:
    return jnp.clip(grid.below + share, grid.lowest, grid.highest) * grid.step


def _share(v: Array) -> Array:
    """Returns h(v), how far a weight lies above the integer below it, 0 to 1."""
    return jnp.clip(jax.nn.sigmoid(v) * STRETCH + SHIFT, 0, 1)


def _unshare(share: Array) -> Array:
    """Returns v with h(v) = share."""
    inner = (jnp.clip(share, 0, 1) - SHIFT) / STRETCH
    return jnp.log(inner) - jnp.log1p(-inner)
