"""The rectified linear unit."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array


class Relu(Activation):
    """Computes max(x, 0).

    >>> import jax.numpy as jnp
    >>> Relu().apply({}, jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    monotone: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns max(x, 0)."""
        return nn.relu(x)
