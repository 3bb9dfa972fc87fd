"""The sign of BinaryNet / BNN (Hubara et al. 2016), for weights and for inputs."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.quantizers.base import clip_gradient, no_state, sign, straight_through, unit_clip, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer


@with_blueprint
def binary() -> Quantizer:
    """Quantizes to one bit: x_hat = sign(x) with sign(0) = +1.

    The gradient is dx = dx_hat * 1{|x| <= 1} (eq. 4). Latent weights are clipped to [-1, 1] after each update.

    Returns:
      A Quantizer for weights and inputs of any shape; 1 bit, scale 1, without state.

    Source: Hubara et al., "Binarized Neural Networks", NeurIPS 2016 (arXiv 1602.02830).

    >>> import jax.numpy as jnp
    >>> binary().apply((), jnp.array([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """

    def apply(state, x, key=None):
        return straight_through(sign(x), clip_gradient(x))

    def codes(state, w):
        return Codes(sign(w).astype(jnp.int8), jnp.ones((), wide(w).dtype), 1)

    return Quantizer("binary", 1, no_state, apply, codes, project=unit_clip)
