"""The clamp of SecureML, a piecewise linear function in place of a sigmoid, which two parties compute on shares."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
from jax import lax

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array


class Clamp(Activation):
    """Computes clamp(x + 1/2, 0, 1): `encrypted.two_party` evaluates it exactly, and homomorphic encryption cannot.

    Source: Mohassel and Zhang 2017 (SecureML), section 4.3.

    >>> import jax.numpy as jnp
    >>> Clamp().apply({}, jnp.array([-1.0, 0.25, 2.0])).tolist()
    [0.0, 0.75, 1.0]
    """

    monotone: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x + 1/2, within 0 and 1."""
        return lax.clamp(x.dtype.type(0), x + x.dtype.type(0.5), x.dtype.type(1))
