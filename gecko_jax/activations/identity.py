"""No activation, for networks whose nonlinearity is the sign of the next layer's input."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import numpy as np

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array, Variables


class Identity(Activation):
    """Returns its input.

    >>> Identity().apply({}, 3.0)
    3.0
    """

    monotone: ClassVar[bool] = True
    polynomial: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x itself."""
        return x

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns those of x."""
        del variables
        return np.array([[0.0], [1.0]])
