"""LSQ+ (Bhalgat et al. 2020): learned steps from a robust start, and a learned offset for inputs."""

from __future__ import annotations

import math

import jax.numpy as jnp

from gecko_jax.quantizers.base import (
    above_zero,
    check_bits,
    clip_through,
    no_state,
    straight_through,
    wide,
    with_blueprint,
)
from gecko_jax.quantizers.lsq import BINARY, MIN_STEP, features, gradient_scaled, learned_step
from gecko_jax.types import Codes, Quantizer


@with_blueprint
def lsq_plus(bits: int, per_channel: bool = False) -> Quantizer:
    """Quantizes weights as `lsq` does, from the step s = max(|mean - 3 std|, |mean + 3 std|) / 2^(bits-1) (eq. 5).

    Args:
      bits: 2 to 8.
      per_channel: whether each output filter has a step of its own; the paper has one a layer.

    Returns:
      A Quantizer for weights, with the state {"step": float32 [] or [1, ..., outputs]}. It does not serve inputs: see
      `lsq_plus_input`.

    Raises:
      ValueError: bits outside 2..8.

    Source: Bhalgat et al., "LSQ+: Improving low-bit quantization through learnable offsets and better initialization",
    CVPR Workshops 2020 (arXiv 2004.09576).

    >>> import jax.numpy as jnp
    >>> float(lsq_plus(2).init(jnp.array([-1.0, 1.0]))["step"])
    1.5
    """
    half = 2 ** (check_bits("lsq_plus", bits, 2, BINARY) - 1)

    def first(w, axes):
        mean, std = jnp.mean(w, axis=axes, keepdims=True), jnp.std(w, axis=axes, keepdims=True)
        return jnp.maximum(jnp.abs(mean - 3 * std), jnp.abs(mean + 3 * std)) / half

    return learned_step(f"lsq_plus{bits}", bits, (-half, half - 1), first, per_channel)


@with_blueprint
def lsq_plus_input(bits: int) -> Quantizer:
    """Quantizes inputs to a grid with a trained step s and a trained offset beta, one of each a layer.

      x_hat = (clip(round(x / s) + z, n, p) - z) * s,    z = clip(round(n - beta / s), n, p)

    n = -2^(bits-1), p = 2^(bits-1) - 1; beta is the lowest number on the grid. The gradients are those of the paper's
    round(clip((x - beta) / s, 0, p - n)) * s + beta (eq. 3), with LSQ's factor 1 / sqrt(N (p - n)) on those to s and
    beta. The paper leaves beta free and folds it into the bias. Here it is rounded to a multiple of the step when it is
    used: 0, with which a convolution pads, is exactly on the grid, and a device needs an integer zero point alone.

    Args:
      bits: 2 to 8.

    Returns:
      A Quantizer for inputs, with the state {"step": float32 [], "offset": float32 []}. It starts at the range of the
      inputs that `model.init` is given, or where `models.calibrate` puts it. It does not serve weights.

    Raises:
      ValueError: bits outside 2..8.

    Source: Bhalgat et al., "LSQ+", CVPR Workshops 2020 (arXiv 2004.09576).

    >>> import jax.numpy as jnp
    >>> lsq_plus_input(2).apply({"step": 0.5, "offset": -0.5}, jnp.array([-3.0, 0.1, 0.6, 3.0])).tolist()
    [-0.5, 0.0, 0.5, 1.0]
    """
    lowest = -(2 ** (check_bits("lsq_plus_input", bits, 2, BINARY) - 1))
    highest = -lowest - 1

    def parts(state, x):
        s = above_zero(wide(jnp.asarray(state["step"])), MIN_STEP)
        beta = wide(jnp.asarray(state["offset"]))
        factor = 1 / math.sqrt(features(x) * (highest - lowest))
        zero = jnp.clip(jnp.round(lowest - beta / s), lowest, highest)
        return gradient_scaled(s, factor), gradient_scaled(beta, factor), zero

    def integers(x, s, zero):
        return jnp.clip(jnp.round(wide(x) / s) + zero, lowest, highest)

    def apply(state, x, key=None):
        s, beta, zero = parts(state, x)
        ratio = clip_through((wide(x) - beta) / s, 0, highest - lowest)
        through = straight_through(jnp.round(ratio), ratio) * s + beta
        return straight_through(((integers(x, s, zero) - zero) * s).astype(x.dtype), through.astype(x.dtype))

    def codes(state, x):
        s, _, zero = parts(state, x)
        return Codes(integers(x, s, zero).astype(jnp.int8), s, bits, zero.astype(jnp.int32))

    def from_range(low, high):
        low, high = jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)
        s = (high - low) / (highest - lowest)
        return {"step": jnp.where(s >= MIN_STEP, s, 1.0), "offset": low}

    def init(x):
        no_state(x)
        return from_range(jnp.min(wide(x)), jnp.max(wide(x)))

    name = f"lsq_plus{bits}_input"
    return Quantizer(name, bits, init, apply, codes, weights=False, from_range=from_range)
