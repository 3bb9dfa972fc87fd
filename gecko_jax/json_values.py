"""Python values in JSON's own types: the one conversion of arrays, records and numbers that are not finite.

JSON has no NaN and no infinity. They become the words "nan", "inf" and "-inf", which `float` reads back; null would say
that a figure is absent.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any


def plain(value: Any, name: str = "value") -> Any:
    """Returns a value in JSON's own types.

    Arrays and tuples become lists, named tuples and dataclasses objects, paths text, and numbers that are not finite
    the words "nan", "inf" and "-inf".

    Args:
      value: None, bool, number, text, path, array, or mappings, records and sequences of them.
      name: of the value, for messages.

    Raises:
      TypeError: a value that JSON cannot hold, named by its place.

    >>> plain({"loss": float("nan"), "sizes": (1, 2)})
    {'loss': 'nan', 'sizes': [1, 2]}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part, f"{name}[{key!r}]") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, f"{name}[{i}]") for i, part in enumerate(value)]
    if hasattr(value, "tolist"):  # NumPy's and JAX's arrays and scalars
        return plain(value.tolist(), name)  # type: ignore[union-attr]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{name} is a {type(value).__name__}; JSON holds numbers, strings, lists and dicts only.")


def dumps(value: Any, name: str = "value", **options: Any) -> str:
    """Returns `plain(value)` as strict JSON text.

    Args:
      value: see `plain`.
      name: of the value, for messages.
      **options: of `json.dumps`, such as indent=1.

    Raises:
      TypeError: a value that JSON cannot hold.

    >>> dumps([float("inf"), 2])
    '["inf", 2]'
    """
    return json.dumps(plain(value, name), allow_nan=False, **options)
