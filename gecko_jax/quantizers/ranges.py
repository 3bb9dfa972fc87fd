"""Asymmetric grids over a measured range: what 8-bit and 4-bit inputs share."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.checks import in_range, integer
from gecko_jax.quantizers.base import clip_through, no_state, straight_through, wide
from gecko_jax.types import Array, Codes, Quantizer

RANGES = "quantizer_ranges"  # the collection of what quantizers measure; what they learn is among the parameters


def measured_input(bits: int, decay: float | None, freeze_after: int | None) -> Quantizer:
    """Builds a quantizer for inputs on the grid of all codes of `bits` bits over a range that is measured.

    Args:
      bits: of a code, 2 to 8.
      decay, freeze_after: see `quantizers.int8_input`.

    Raises:
      ValueError: a decay outside [0, 1), a freeze_after below 1 or without a decay.
    """
    if decay is not None:
        in_range("decay", decay, 0, 1)
        if decay == 1:
            raise ValueError("decay=1 would keep the first batch's range; pass a smaller one, or freeze_after=1.")
    if freeze_after is not None:
        integer("freeze_after", freeze_after, 1)
        if decay is None:
            raise ValueError(f"freeze_after={freeze_after} needs a decay: without one no batch moves the range.")
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def grid(state, dtype):
        """Returns (step, zero point) as floats; NaN if the range was never measured."""
        low = jnp.minimum(jnp.asarray(state["low"], dtype), 0.0)
        high = jnp.maximum(jnp.asarray(state["high"], dtype), 0.0)
        span = high - low
        step = jnp.where(span >= 1e-30, span, highest - lowest) * (1 / (highest - lowest))
        step = jnp.where(jnp.asarray(state["count"]) > 0, step, jnp.nan)
        return step, jnp.clip(jnp.round(lowest - low / step), lowest, highest)

    def integers(x, step, zero):
        return jnp.clip(jnp.round(wide(x) / step) + zero, lowest, highest)

    def apply(state, x, key=None):
        step, zero = grid(state, wide(x).dtype)
        x_hat = (integers(x, step, zero) - zero) * step
        through = clip_through(wide(x), (lowest - zero) * step, (highest - zero) * step)
        return straight_through(x_hat.astype(x.dtype), through.astype(x.dtype))

    def codes(state, x):
        step, zero = grid(state, wide(x).dtype)
        return Codes(integers(x, step, zero).astype(jnp.int8), step, bits, zero.astype(jnp.int32))

    def init(x):
        no_state(x)
        return {"low": jnp.float32(0), "high": jnp.float32(0), "count": jnp.int32(0)}

    def observe(state, x):
        return state if decay is None else moved(state, x, decay, freeze_after)

    def from_range(low, high):
        return {"low": jnp.float32(low), "high": jnp.float32(high), "count": jnp.int32(1)}

    name = f"int{bits}_input"
    return Quantizer(name, bits, init, apply, codes, weights=False, observe=observe, from_range=from_range)


def moved(state: dict[str, Array], x: Array, decay: float, freeze_after: int | None) -> dict[str, Array]:
    """Returns a range after one batch more: the batch's own the first time, then an exponential moving average.

    Args:
      state: {"low", "high", "count"}.
      x: a batch of inputs.
      decay: the old range's share.
      freeze_after: after how many batches the range stays; None for never.

    >>> state = {"low": jnp.float32(0), "high": jnp.float32(0), "count": jnp.int32(0)}
    >>> first = moved(state, jnp.array([-1.0, 2.0]), 0.5, None)
    >>> second = moved(first, jnp.array([0.0, 4.0]), 0.5, None)
    >>> float(first["low"]), float(first["high"]), float(second["low"]), float(second["high"])
    (-1.0, 2.0, -0.5, 3.0)
    """
    count, x = state["count"], wide(x)
    weight = jnp.where(count == 0, 0.0, decay)
    open_ = True if freeze_after is None else count < freeze_after

    def mixed(old, new):
        return jnp.where(open_, weight * old + (1 - weight) * new, old).astype(jnp.float32)

    return {
        "low": mixed(state["low"], jnp.min(x)),
        "high": mixed(state["high"], jnp.max(x)),
        "count": jnp.where(open_, count + 1, count),
    }
