"""BinaryConnect (Courbariaux, Bengio & David 2015): binary weights, float inputs, identity gradient."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from gecko_jax.quantizers.base import no_state, sign, straight_through, unit_clip, wide, with_blueprint
from gecko_jax.types import Array, Codes, Quantizer


@with_blueprint
def binary_connect(stochastic: bool = False) -> Quantizer:
    """w_hat = sign(w), or +1 with probability clip((w + 1) / 2, 0, 1) while training if `stochastic`.

    The gradient passes unchanged and the latent weights are clipped to [-1, 1] after each update. The paper scales the
    learning rate by 1 / Glorot's coefficient; `rate` of this scheme is that factor.

    With `stochastic`, the paper deploys the REAL weights, which saves no bits. Here sign(w), the likelier of the two
    values, is what is evaluated and deployed; `key` is needed for a draw.

    Args:
      stochastic: draw the sign of each weight anew at each training step.

    >>> import jax.numpy as jnp
    >>> binary_connect().apply((), jnp.array([-0.2, 0.0, 0.7])).tolist()
    [-1.0, 1.0, 1.0]
    """

    def apply(state, w, key=None):
        if stochastic and key is not None:
            draw = jax.random.bernoulli(key, jnp.clip((wide(w) + 1) / 2, 0, 1))  # of 1/256 in bfloat16
            return straight_through(jnp.where(draw, 1.0, -1.0).astype(w.dtype), w)
        return straight_through(sign(w), w)

    def codes(state, w):
        return Codes(sign(w).astype(jnp.int8), jnp.ones((), wide(w).dtype), 1)

    name = "binary_connect_stochastic" if stochastic else "binary_connect"
    return Quantizer(name, 1, no_state, apply, codes, project=unit_clip, rate=glorot_rate, inputs=False)


def glorot_rate(w: Array) -> float:
    """1 / sqrt(1.5 / (fan_in + fan_out)), the learning-rate factor of the authors' code."""
    receptive = math.prod(w.shape[:-2])
    fans = (w.shape[-2] + w.shape[-1]) * receptive if w.ndim > 1 else w.shape[0]
    return math.sqrt(fans / 1.5)
