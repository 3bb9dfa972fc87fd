"""BinaryConnect (Courbariaux, Bengio & David 2015): binary weights, float inputs, identity gradient."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from gecko_jax.quantizers.base import no_state, sign, straight_through, unit_clip, wide, with_blueprint
from gecko_jax.types import Array, Codes, Quantizer


@with_blueprint
def binary_connect(stochastic: bool = False) -> Quantizer:
    """Quantizes weights to one bit: w_hat = sign(w), or a random sign during training if `stochastic`.

    A random sign is +1 with probability clip((w + 1) / 2, 0, 1). The gradient passes unchanged, and the latent weights
    are clipped to [-1, 1] after each update. The paper divides the learning rate by Glorot's coefficient; the factor
    1 / coefficient is this scheme's `rate`.

    With `stochastic`, the paper deploys the real weights, which saves no bits. Here sign(w), the likelier of the two
    values, is evaluated and deployed; a draw needs a `key`.

    Args:
      stochastic: whether to draw each weight's sign again at each training step.

    Returns:
      A Quantizer for weights of any shape; 1 bit, scale 1, without state. It does not serve inputs.

    Source: Courbariaux, Bengio and David, "BinaryConnect", NeurIPS 2015 (arXiv 1511.00363).

    >>> import jax.numpy as jnp
    >>> binary_connect().apply((), jnp.array([-0.2, 0.0, 0.7])).tolist()
    [-1.0, 1.0, 1.0]
    """

    def apply(state, w, key=None):
        if stochastic and key is not None:
            # In bfloat16 the probability would be a multiple of 1/256.
            draw = jax.random.bernoulli(key, jnp.clip((wide(w) + 1) / 2, 0, 1))
            return straight_through(jnp.where(draw, 1.0, -1.0).astype(w.dtype), w)
        return straight_through(sign(w), w)

    def codes(state, w):
        return Codes(sign(w).astype(jnp.int8), jnp.ones((), wide(w).dtype), 1)

    name = "binary_connect_stochastic" if stochastic else "binary_connect"
    return Quantizer(name, 1, no_state, apply, codes, project=unit_clip, rate=glorot_rate, inputs=False)


def glorot_rate(w: Array) -> float:
    """Returns 1 / sqrt(1.5 / (fan_in + fan_out)), the learning-rate factor of the authors' code.

    Args:
      w: a layer's weight [window..., inputs, outputs].

    >>> glorot_rate(jax.numpy.ones((4, 2)))
    2.0
    """
    receptive = math.prod(w.shape[:-2])
    fans = (w.shape[-2] + w.shape[-1]) * receptive if w.ndim > 1 else w.shape[0]
    return math.sqrt(fans / 1.5)
