"""PACT (Choi et al. 2018): inputs clipped at a trained level, on a k-bit grid."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.checks import positive
from gecko_jax.quantizers.base import above_zero, check_bits, no_state, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer

MIN_LEVEL = 1e-30


@with_blueprint
def pact(bits: int, level: float = 4.0) -> Quantizer:
    """Quantizes inputs: x_hat = round(y (2^k - 1) / alpha) * alpha / (2^k - 1), y = clip(x, 0, alpha) (eq. 1-2).

    The gradients are dx = g 1{0 <= x < alpha} and d alpha = sum of g 1{x >= alpha} (eq. 3). alpha is a parameter of the
    model and trained with the rest; the paper's L2 penalty on it is the optimizer's weight decay. An alpha below 0
    counts by its magnitude. Take it in a ReLU's place, or after one.

    Args:
      bits: 1 to 8.
      level: alpha at init, above 0.

    Returns:
      A Quantizer for inputs of any shape, with the state {"level": float32 []}. It does not serve weights, which it
      would clip at 0.

    Raises:
      ValueError: bits outside 1..8, a level that is not above 0.

    Source: Choi et al., "PACT: Parameterized Clipping Activation for Quantized Neural Networks", 2018
    (arXiv 1805.06085).

    >>> import jax.numpy as jnp
    >>> pact(2).apply({"level": 3.0}, jnp.array([-1.0, 1.2, 9.0])).tolist()
    [0.0, 1.0, 3.0]
    """
    levels = 2 ** check_bits("pact", bits, 1, "8 bits are the most that codes are stored in") - 1
    positive("level", level)
    zero = -(2 ** (bits - 1)) if bits > 1 else 0

    def top(state):
        return above_zero(wide(jnp.asarray(state["level"])), MIN_LEVEL)

    def step(state):
        return top(state) * (1 / levels)

    def integers(state, x):
        return jnp.round(jnp.clip(wide(x) / step(state), 0, levels))

    def apply(state, x, key=None):
        alpha, v = top(state), wide(x)
        through = jnp.where(v >= alpha, alpha, jnp.where(v >= 0, v, 0.0))
        return straight_through((integers(state, x) * step(state)).astype(x.dtype), through.astype(x.dtype))

    def codes(state, x):
        return Codes((integers(state, x) + zero).astype(jnp.int8), step(state), bits, zero)

    def init(x):
        no_state(x)
        return {"level": jnp.asarray(level, wide(x).dtype)}

    def from_range(low, high):
        return {"level": jnp.where(high >= MIN_LEVEL, high, level)}

    return Quantizer(f"pact{bits}", bits, init, apply, codes, weights=False, from_range=from_range)
