"""Trained ternary quantization (Zhu et al. 2017): {-W_n, 0, +W_p} with two trained magnitudes a layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gecko_jax.quantizers.base import no_state, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer


@with_blueprint
def ttq(threshold: float = 0.05) -> Quantizer:
    """Quantizes weights to {-W_n, 0, +W_p}: W_p if w > Delta, -W_n if w < -Delta, else 0; Delta = threshold * max|w|.

      dW_p = sum over w > Delta of g,    dW_n = -sum over w < -Delta of g    (eq. 7)
      dw = W_p g if w > Delta, g if |w| <= Delta, W_n g if w < -Delta        (eq. 8)

    W_p and W_n start at the mean magnitude of the weights that they replace (1 without any); the paper fine-tunes
    a trained network. The three values are stored as such, because two magnitudes are not one scale.

    Args:
      threshold: Delta in units of the layer's largest magnitude; 0 <= threshold < 1.

    Returns:
      A Quantizer for weights of any shape; 2 bits, with the state {"positive": W_p, "negative": W_n}, float32 []. It
      does not serve inputs.

    Raises:
      ValueError: a threshold outside [0, 1).

    Source: Zhu et al., "Trained Ternary Quantization", ICLR 2017 (arXiv 1612.01064).

    >>> import jax.numpy as jnp
    >>> ttq().apply({"positive": 2.0, "negative": 3.0}, jnp.array([-0.5, 0.01, 1.0])).tolist()
    [-3.0, 0.0, 2.0]
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold!r} must lie in [0, 1): from 1 on no weight is left.")

    def split(w):
        v = wide(w)
        delta = threshold * jnp.max(jnp.abs(v))
        return v > delta, v < -delta

    def magnitudes(state):
        return wide(jnp.asarray(state["positive"])), wide(jnp.asarray(state["negative"]))

    def values(state, w):
        (above, below), (up, down) = split(w), magnitudes(state)
        return jnp.where(above, up, jnp.where(below, -down, 0.0))

    def apply(state, w, key=None):
        (above, below), (up, down) = split(w), magnitudes(state)
        slope = jnp.where(above, up, jnp.where(below, down, 1.0))
        through = values(state, w) + jax.lax.stop_gradient(slope) * wide(w)
        return straight_through(values(state, w).astype(w.dtype), through.astype(w.dtype))

    def codes(state, w):
        w_hat = values(state, w)
        return Codes(w_hat.astype(jnp.float32), jnp.ones((), w_hat.dtype), 2)

    def init(w):
        no_state(w)
        (above, below), magnitude = split(w), jnp.abs(wide(w))

        def mean(chosen):
            count = jnp.sum(chosen)
            return jnp.where(count > 0, jnp.sum(jnp.where(chosen, magnitude, 0)) / jnp.maximum(count, 1), 1.0)

        return {"positive": mean(above), "negative": mean(below)}

    return Quantizer("ttq", 2, init, apply, codes, inputs=False)
