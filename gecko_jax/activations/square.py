"""The square, the activation of CryptoNets (Gilad-Bachrach et al. 2016)."""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.types import Array


class Square(nn.Module):
    """Computes x^2. Its values explode with depth: use it in two or three layers, or take `Quadratic`.

    >>> Square().apply({}, 3.0)
    9.0
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x squared."""
        return x * x
