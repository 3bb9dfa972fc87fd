"""x squared, the activation of CryptoNets (Gilad-Bachrach et al. 2016)."""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.types import Array


class Square(nn.Module):
    """x^2. It explodes with depth: keep to two or three layers, or take `Quadratic`."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return x * x
