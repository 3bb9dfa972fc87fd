"""Bounds of activations from data, and flipped bits in stored weights, against which they protect (FitAct)."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.activations import BoundedRelu
from gecko_jax.models.quantized_layers import weight_quantizers
from gecko_jax.models.quantizer_states import state_of, without_states
from gecko_jax.models.trace import layer_input
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.trees import map_named, row_blocks, take
from gecko_jax.types import Array, Model, Variables

ROWS_PER_CALL = 256
MAX_FIXED_POINT_BITS = 32


def calibrated_bounds(model: Model, variables: Variables, x: Any, margin: float = 1.0) -> dict[str, Any]:
    """Returns the variables with each bound at the largest value that the activation is given on x.

    Args:
      model: one with "bounded_relu" activations.
      variables: its own, or those of the same network with "relu", which has no bounds yet.
      x: inputs [n, ...], such as the training data.
      margin: factor on the bounds, above 0.

    Returns:
      The variables of `model`.

    Raises:
      ValueError: a model without such activations, or variables of another network.

    >>> from gecko_jax import models
    >>> plain, bounded = (models.create("mlp", 2, hidden=(3,), activation=name) for name in ("relu", "bounded_relu"))
    >>> x = np.ones((4, 5), np.float32)
    >>> variables = calibrated_bounds(bounded, plain.init(jax.random.key(0), x), x)
    >>> np.array_equal(bounded.apply(variables, x)[0], plain.apply(variables, x)[0])
    True
    """
    checks.positive("margin", margin)
    checks.not_empty("x", jax.tree.leaves(x)[0])
    shapes = jax.eval_shape(model.init, jax.random.key(0), take(x, slice(0, 1)))
    paths = _bounded_paths(model, shapes, take(x, slice(0, 1)))
    if not paths:
        raise ValueError('the model has no "bounded_relu" activation: create it with activation="bounded_relu".')

    def with_values(bounds: dict[str, Any], tree: Any) -> Any:
        known = dict(_flat(tree))
        known.update({(*path.split("/"), "bound"): bounds[path] for path in paths})
        return map_named(lambda name, leaf: known[tuple(name.split("/"))], shapes["params"])

    try:
        open_bounds = with_values({path: jnp.full(paths[path], jnp.inf) for path in paths}, variables["params"])
    except KeyError as error:
        raise ValueError(f"variables lack {'/'.join(error.args[0])!r}: they belong to another network.") from error
    unbounded = {**variables, "params": open_bounds}

    @jax.jit
    def largest(rows):
        values: dict[str, Array] = {}

        def note(next_fun, args, kwargs, context):
            if context.method_name == "__call__" and isinstance(context.module, BoundedRelu):
                path, z = layer_path(context.module), layer_input(args, kwargs)
                top = z.reshape(-1, *paths[path]).max(0) if paths[path] != (1,) else z.max()[None]
                values[path] = jnp.maximum(values.get(path, 0.0), top)
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(note), traced_under(surroundings()):
            model.apply(unbounded, rows)
        return values

    count = len(jax.tree.leaves(x)[0])
    blocks = [largest(take(x, index)) for index in row_blocks(count, min(ROWS_PER_CALL, count), full=True)]
    tops = {path: margin * np.max([np.asarray(block[path]) for block in blocks], axis=0) for path in paths}
    for path, top in tops.items():
        checks.finite(f"the largest values at {path!r} on x", top)
    return {**variables, "params": with_values(tops, variables["params"])}


def with_flipped_bits(
    model: Model, variables: Variables, x: Any, rate: float, seed: int, fixed_point: tuple[int, int] | None = None
) -> tuple[dict[str, Any], int]:
    """Flips bits of stored weights at random and returns what a device would then compute with.

    A quantized model's weights are stored as its quantizers' codes, each of k bits in two's complement, beside exact
    scales. A float model's weights are stored in fixed point. Biases, normalization and bounds are not touched.

    Args:
      model: a quantized model, or a float model with `fixed_point`.
      variables: its variables.
      x: a batch of inputs [b, ...] (or its shapes).
      rate: chance of each stored bit to be flipped, 0 to 1.
      seed: of the flips.
      fixed_point: (bits, fraction bits) of each weight of a float model, such as (16, 8); at most 32 bits. None for a
        quantized model.

    Returns:
      (variables of the float model, with the weights as the device reads them; number of flipped bits).

    Raises:
      ValueError: a rate outside 0..1, both a quantized model and `fixed_point`, or neither.

    >>> from gecko_jax import models
    >>> net, x = models.create("mlp", 2, hidden=()), np.ones((1, 3), np.float32)
    >>> variables = {"params": {"logits": {"kernel": np.full((3, 2), 0.5), "bias": np.zeros(2)}}}
    >>> flipped, count = with_flipped_bits(net, variables, x, 1.0, 0, fixed_point=(8, 4))
    >>> float(flipped["params"]["logits"]["kernel"][0, 0]), count  # 0.5 is 00001000, and 11110111 is -9 / 16
    (-0.5625, 48)
    """
    checks.in_range("rate", rate, 0, 1)
    quantizers = weight_quantizers(model, variables, x)
    if bool(quantizers) == (fixed_point is not None):
        raise ValueError(
            f"fixed_point={fixed_point!r} with {len(quantizers)} quantized weights: pass (bits, fraction bits) for a "
            "float model, and None for a quantized one, whose quantizers say how its weights are stored."
        )
    if fixed_point is not None:
        checks.shape("fixed_point", np.asarray(fixed_point), (2,))
        checks.in_range("fixed_point[0]", checks.integer("fixed_point[0]", fixed_point[0], 2), 2, MAX_FIXED_POINT_BITS)
        checks.in_range("fixed_point[1]", checks.integer("fixed_point[1]", fixed_point[1], 0), 0, fixed_point[0] - 1)
    flips = 0

    def stored(name: str, leaf: Any) -> tuple[np.ndarray, np.ndarray | float, int] | None:
        if fixed_point is not None:
            bits, fraction = fixed_point
            limit, scale = 2 ** (bits - 1), 2.0**-fraction
            values = np.rint(np.asarray(leaf, np.float64) / scale)
            if not np.all((-limit <= values) & (values < limit)):
                raise ValueError(
                    f"{name} holds {np.abs(values).max() * scale:.4g}; fixed_point={fixed_point} stores numbers from "
                    f"{-limit * scale:g} to below {limit * scale:g}. Take fewer fraction bits, or more bits."
                )
            return values, scale, bits
        if name not in quantizers:
            return None
        quantizer = quantizers[name]
        state = state_of(quantizer, variables, f"weight:{name}", leaf)
        codes = quantizer.codes(state, leaf) if quantizer.codes else None
        if codes is None or not _in_twos_complement(np.asarray(codes.values), codes.bits):
            raise ValueError(
                f"{name} is quantized by {quantizer.name!r}, whose codes are not integers of 2 bits or more in two's "
                "complement. Take quantizers.uniform(bits)."
            )
        return np.asarray(codes.values), np.asarray(codes.scale), codes.bits

    def flipped(name: str, leaf: Any) -> Any:
        nonlocal flips
        if np.ndim(leaf) < 2 or (codes := stored(name, leaf)) is None:
            return leaf
        values, scale, bits = codes
        draws = keys.generator(seed, "bit flips", name).random((*values.shape, bits)) < rate
        flips += int(draws.sum())
        words = (values.astype(np.int64) & (2**bits - 1)) ^ (draws * 2 ** np.arange(bits)).sum(-1)
        words = np.where(words >= 2 ** (bits - 1), words - 2**bits, words)
        return (words * scale).astype(np.asarray(leaf).dtype)

    network = without_states(variables)
    return {**network, "params": map_named(flipped, network["params"])}, flips


def _in_twos_complement(values: np.ndarray, bits: int) -> bool:
    """Tells whether codes are integers of two bits or more that two's complement holds."""
    if not np.issubdtype(values.dtype, np.integer) or bits < 2:
        return False
    return not values.size or bool(values.min() >= -(2 ** (bits - 1)) and values.max() < 2 ** (bits - 1))


def _bounded_paths(model: Model, shapes: Variables, x: Any) -> dict[str, tuple[int, ...]]:
    """Returns {path of each bounded activation: shape of its bounds}."""
    paths: dict[str, tuple[int, ...]] = {}

    def note(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(context.module, BoundedRelu):
            paths[layer_path(context.module)] = tuple(context.module.get_variable("params", "bound").shape)
        return output

    with nn.intercept_methods(note), traced_under(surroundings()):
        jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], shapes, x)
    return paths


def _flat(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [entry for name, part in tree.items() for entry in _flat(part, (*path, name))]
