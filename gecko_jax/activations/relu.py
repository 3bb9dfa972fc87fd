"""The rectifier."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from gecko_jax.types import Array


class Relu(nn.Module):
    """max(x, 0)."""

    monotone: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.relu(x)
