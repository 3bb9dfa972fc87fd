"""Puts examples into slots and takes outputs out of them, by a program's public part alone."""

from __future__ import annotations

import warnings

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import real_rows
from gecko_jax.encrypted.program import Interface
from gecko_jax.types import Array

MIN_OUTPUT_MARGIN = 2.0  # the bound over the largest number that decrypts to an answer


def pack(x: Array, interface: Interface) -> np.ndarray:
    """Puts examples into slots, clipped to the box on which the program was checked.

    Args:
      x: inputs [b, *input_shape], b at most the interface's `samples`; the slots of missing ones get zeros.
      interface: of the program.

    Returns:
      float64 [ciphertexts, slots].

    Raises:
      ValueError: inputs of another shape, too many of them, or one that is not finite, not real or hidden by a mask.
    """
    flat = real_rows("x", x, interface.input_shape).reshape(len(x), -1)
    if len(flat) > interface.samples:
        raise ValueError(f"x has {len(flat)} examples; one run takes {interface.samples}. Split x into several runs.")
    full = np.zeros((interface.samples, flat.shape[1]))
    full[: len(flat)] = flat
    full = np.clip(full, interface.box_low, interface.box_high) * interface.input_gain
    features = interface.input_features
    values = np.where(features[..., None] >= 0, full.T[features], 0.0)
    return values.reshape(len(features), -1)


def outside_box(x: Array, interface: Interface) -> np.ndarray:
    """Finds the examples that a client clips, whose answers are those of other inputs.

    Args:
      x: inputs [b, *input_shape], any number.
      interface: of the program.

    Returns:
      bool [b].

    Raises:
      ValueError: inputs of another shape.

    >>> from types import SimpleNamespace
    >>> interface = SimpleNamespace(input_shape=(2,), box_low=np.zeros(2), box_high=np.ones(2))
    >>> outside_box(np.array([[0.5, 1.0], [0.5, 1.5]]), interface).tolist()
    [False, True]
    """
    flat = np.asarray(checks.shape("x", x, (None, *interface.input_shape)), np.float64).reshape(len(x), -1)
    return np.any((flat < interface.box_low[None]) | (flat > interface.box_high[None]), axis=1)


def warn_of_clipping(x: Array, interface: Interface) -> None:
    """Warns if numbers lie outside the box, whose answer is that of other numbers: those that they are clipped to.

    Args:
      x: inputs [b, *input_shape].
      interface: of the program.
    """
    if clipped := int(np.count_nonzero(outside_box(x, interface))):
        warnings.warn(
            f"{clipped:,} of {len(x):,} examples are clipped to the box {interface.box_low.min():.4g} to "
            f"{interface.box_high.max():.4g}; their numbers reach from {np.min(x):.4g} to {np.max(x):.4g}. Scale them "
            "as the calibration data was scaled, or clip them yourself.",
            stacklevel=3,
        )


def check_classes(interface: Interface) -> None:
    """Raises ValueError unless an example's outputs are logits, of which the largest names a class.

    Args:
      interface: of the program.
    """
    shape = interface.output_shape
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(
            f"an example's outputs have shape {shape}; labels need (classes,), two or more. Use decrypt or predict, "
            "with few decimals; of a single logit, its sign is the label."
        )


def unpack(vectors: Array, count: int, interface: Interface) -> np.ndarray:
    """Takes the outputs out of decrypted slots.

    Args:
      vectors: float64 [ciphertexts, slots].
      count: examples that `pack` was given.
      interface: of the program.

    Returns:
      float64 [count, *output_shape].

    Raises:
      ValueError: slots of another shape, or an output so near the bound that its ciphertext has probably wrapped around
        or was decrypted with another key.
    """
    features = interface.output_features
    checks.shape("vectors", vectors, (len(features), interface.parameters.slots))
    checks.in_range("count", count, 1, interface.samples)
    by_position = np.asarray(vectors, np.float64).reshape(features.size, interface.samples)
    outputs, positions = np.unique(features.reshape(-1), return_index=True)
    values = by_position[positions[outputs >= 0], :count].T / interface.output_gain
    largest, limit = np.abs(values).max(), interface.output_bound / MIN_OUTPUT_MARGIN
    if not largest < limit:
        raise ValueError(
            f"A decrypted output has absolute value {largest:.3g}; expected less than {limit:.3g}, half of what the "
            "ciphertext holds. Either the network's values left the range on which it was compiled, or the key differs."
        )
    return values.reshape(count, *interface.output_shape)
