"""No activation, for networks whose nonlinearity is the sign of the next layer's input."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from gecko_jax.types import Array


class Identity(nn.Module):
    """Returns its input.

    >>> Identity().apply({}, 3.0)
    3.0
    """

    monotone: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x itself."""
        return x
