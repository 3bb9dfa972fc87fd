"""Random inputs of given shapes and types, on which a saved model is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np


def row_spec(x: Any) -> dict[str, Any]:
    """Describes one row of a batch of inputs, in JSON's types.

    Args:
      x: an array [b, ...], or dicts, tuples and lists of arrays.

    Raises:
      ValueError: another container, or an array without a leading axis.

    >>> row_spec({"image": np.ones((2, 4, 4, 1), np.float32)})
    {'dict': {'image': {'shape': [4, 4, 1], 'dtype': 'float32'}}}
    """
    if isinstance(x, Mapping):
        return {"dict": {str(name): row_spec(part) for name, part in x.items()}}
    if type(x) in (tuple, list):
        return {type(x).__name__: [row_spec(part) for part in x]}
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        raise ValueError(f"x holds a {type(x).__name__}; expected arrays, or dicts, tuples and lists of arrays.")
    if not x.shape:
        raise ValueError("x holds an array of shape (); expected a leading axis of rows.")
    return {"shape": list(x.shape[1:]), "dtype": jnp.dtype(x.dtype).name}


def draw_rows(spec: Mapping[str, Any], count: int) -> Any:
    """Draws `count` rows of the described shapes and types: normal floats, zeros and ones for integers.

    >>> draw_rows({"shape": [3], "dtype": "float32"}, 2).shape
    (2, 3)
    """
    return _drawn(spec, count, np.random.default_rng(0))


def _drawn(spec: Mapping[str, Any], count: int, draws: np.random.Generator) -> Any:
    if "dict" in spec:
        return {name: _drawn(part, count, draws) for name, part in spec["dict"].items()}
    for container in (tuple, list):
        if container.__name__ in spec:
            return container(_drawn(part, count, draws) for part in spec[container.__name__])
    shape, dtype = (count, *spec["shape"]), jnp.dtype(spec["dtype"])
    values = draws.normal(size=shape) if jnp.issubdtype(dtype, jnp.inexact) else draws.integers(0, 2, shape)
    return values.astype(dtype)
