"""Ternary weight networks (Li & Liu 2016): {-alpha, 0, +alpha}, two bits a weight."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.quantizers.base import no_state, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer


@with_blueprint
def ternary(threshold: float = 0.7) -> Quantizer:
    """Quantizes weights to {-alpha, 0, +alpha}: alpha * sign(w) if |w| > Delta, else 0.

      Delta = threshold * E|w|,    alpha = E[|w| : |w| > Delta]    (eq. 5-6)

    Delta and alpha are one for each layer, as in the paper. A weight with one axis is therefore quantized too, while
    `xnor` and `uniform` leave it unchanged. The gradient passes unchanged.

    Args:
      threshold: Delta in units of the layer's mean magnitude; 0 <= threshold < 1 keeps at least one weight.

    Returns:
      A Quantizer for weights of any shape; 2 bits, without state. It does not serve inputs.

    Raises:
      ValueError: a threshold outside [0, 1).

    Source: Li and Liu, "Ternary Weight Networks", 2016 (arXiv 1605.04711).

    >>> import jax.numpy as jnp
    >>> ternary().apply((), jnp.array([-3.0, 0.5, 1.0])).tolist()
    [-3.0, 0.0, 0.0]
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold!r} must lie in [0, 1): from 1 on a layer may lose all of its weights.")

    def split(w):
        magnitude = jnp.abs(wide(w))
        large = magnitude > threshold * jnp.mean(magnitude)
        alpha = jnp.sum(jnp.where(large, magnitude, 0)) / jnp.maximum(jnp.sum(large), 1)
        return jnp.where(large, jnp.sign(wide(w)), 0.0), alpha

    def apply(state, w, key=None):
        values, alpha = split(w)
        return straight_through((values * alpha).astype(w.dtype), w)

    def codes(state, w):
        values, alpha = split(w)
        return Codes(values.astype(jnp.int8), alpha, 2)

    return Quantizer("ternary", 2, no_state, apply, codes, inputs=False)
