"""The square, the activation of CryptoNets (Gilad-Bachrach et al. 2016)."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import numpy as np

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array, Variables


class Square(Activation):
    """Computes x^2. Its values explode with depth: use it in two or three layers, or take `Quadratic`.

    >>> Square().apply({}, 3.0)
    9.0
    """

    polynomial: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x squared."""
        return x * x

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns those of x^2."""
        del variables
        return np.array([[0.0], [0.0], [1.0]])
