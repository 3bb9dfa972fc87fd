"""Bits as a function of trained steps, and a penalty on what they cost: training to a budget of bytes or operations.

  bits = {"dense1/kernel": trained_bits(step, max_abs), ...}
  loss + strength * over_budget(weight_bytes(bits, parameters), max_bytes)

The penalty is zero within the budget, and its gradient widens the steps, or narrows the ranges, of the layers that cost
most. Which layers give way is left to the loss: a layer that needs its bits resists by its own gradient. The quantizers
of this package have fixed bits; these functions serve a module of one's own that trains a step and a range. Train the
network that they find again with fixed bits: `models.quantized` with a rule for each layer.

Source: Uhlich et al., "Mixed precision DNNs: all you need is a good parametrization", ICLR 2020 (arXiv 1905.11452).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from gecko_jax.checks import positive
from gecko_jax.quantizers.base import straight_through, wide
from gecko_jax.types import Array

MIN_BITS = 2.0  # -1, 0 and 1, the fewest values of a symmetric grid


def trained_bits(step: Array, max_abs: Array) -> Array:
    """Computes the bits of the symmetric grid 0, +-step, ..., +-max_abs: b = ceil(log2(max_abs / step + 1) + 1).

    The gradient is that of the expression without rounding up, for both arguments, so that d b / d step is
    -max_abs / (step (max_abs + step) ln 2). Below 2 bits it is 0.

    Args:
      step: distance of two neighboring values, above 0, in the unit of the weights.
      max_abs: the largest value, in the same unit; of the same shape or one that broadcasts to it.

    Returns:
      Integers of at least 2, as floats, of the broadcast shape.

    Source: Uhlich et al. 2020, a uniform quantizer by its step and its range.

    >>> [float(trained_bits(jnp.float32(1.0), jnp.float32(top))) for top in (127.0, 3.5)]
    [8.0, 4.0]
    """
    bits = jnp.maximum(jnp.log2(wide(jnp.asarray(max_abs)) / wide(jnp.asarray(step)) + 1) + 1, MIN_BITS)
    return straight_through(jnp.ceil(bits), bits)


def weight_bytes(bits: Mapping[str, Array], parameters: Mapping[str, int]) -> Array:
    """Computes the bytes of weights: sum_l n_l b_l / 8, without padding and scales.

    Args:
      bits: {name of a weight: its bits}, of all entries or [filters] for as many entries each.
      parameters: {name: number of its entries}.

    Returns:
      A number, differentiable in the bits.

    Raises:
      ValueError: other names in one than in the other.

    >>> float(weight_bytes({"a": jnp.float32(4.0), "b": jnp.array([2.0, 8.0])}, {"a": 10, "b": 8}))
    10.0
    """
    _same_names("parameters", parameters, bits)
    return jnp.sum(jnp.stack([parameters[name] / 8 * jnp.mean(wide(jnp.asarray(bits[name]))) for name in bits]))


def bit_operations(weight_bits: Mapping[str, Array], input_bits: Mapping[str, Array], macs: Mapping[str, int]) -> Array:
    """Computes the BOPs of layers: sum_l MACs_l * bits of a weight * bits of an input, as `costs.Cost.bops`.

    Args:
      weight_bits: {layer: bits of its weights}, of all or [filters] for as many products each.
      input_bits: {layer: bits of its inputs}, a number each.
      macs: {layer: multiply-accumulates of one example}, such as those of `costs.Cost.layers`.

    Returns:
      A number, differentiable in all bits.

    Raises:
      ValueError: other names in one than in the other.

    >>> float(bit_operations({"a": jnp.float32(4.0)}, {"a": jnp.float32(8.0)}, {"a": 10}))
    320.0
    """
    _same_names("macs", macs, weight_bits)
    _same_names("input_bits", input_bits, weight_bits)
    means = {name: jnp.mean(wide(jnp.asarray(bits))) for name, bits in weight_bits.items()}
    return jnp.sum(jnp.stack([macs[name] * means[name] * wide(jnp.asarray(input_bits[name])) for name in means]))


def over_budget(amount: Array, budget: float) -> Array:
    """Computes the penalty max(0, amount / budget - 1)^2: zero with a zero gradient within the budget.

    The square alone ends above the budget, where the loss pulls as strongly; raise the factor in front of it until the
    amount, which is what counts, is within.

    Args:
      amount: bytes, bit operations, or any other number, differentiable.
      budget: the largest amount that is free, in the same unit, above 0.

    Source: Uhlich et al. 2020, with the excess as a share of the budget.

    >>> float(over_budget(jnp.float32(150.0), 100)), float(over_budget(jnp.float32(90.0), 100))
    (0.25, 0.0)
    """
    return jnp.square(jnp.maximum(amount / positive("budget", budget) - 1, 0))


def _same_names(name: str, values: Mapping, bits: Mapping) -> None:
    if not bits:
        raise ValueError("no layer has bits; at least one is needed.")
    if values.keys() != bits.keys():
        differing = sorted(values.keys() ^ bits.keys())
        raise ValueError(f"{name} and the bits must be of the same layers; only one of the two has {differing}.")
