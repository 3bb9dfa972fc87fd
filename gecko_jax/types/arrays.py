"""What an array is, in annotations; shapes are said in words: x [n, height, width, channels]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import jax  # its import takes a second, which metrics and datasets do not need
    import numpy as np

Array: TypeAlias = "jax.Array | np.ndarray"
Tree: TypeAlias = Any  # a pytree of arrays, such as one array or a mapping of them
Variables: TypeAlias = Mapping[str, Any]  # Flax's own: {"params": tree, "batch_stats": tree, ...}
