"""C text of constants."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "uint32": "uint32_t"}
_INT32_MIN = -(2**31)


def number(value: Any) -> str:
    """Returns an integer as C; the smallest 32-bit one has no literal of its own.

    >>> number(-3), number(-(2**31))
    ('-3', '(-2147483647 - 1)')
    """
    return "(-2147483647 - 1)" if value == _INT32_MIN else str(int(value))


def array(name: str, values: np.ndarray) -> str:
    r"""Returns the definition of a static constant array.

    >>> array("weights_0", np.array([1, -2], np.int8))
    'static const int8_t weights_0[2] = {\n  1, -2\n};\n'
    """
    suffix = "u" if values.dtype == np.uint32 else ""
    body = textwrap.fill(", ".join(number(value) + suffix for value in values.reshape(-1).tolist()), 118)
    return f"static const {TYPES[values.dtype.name]} {name}[{values.size}] = {{\n{textwrap.indent(body, '  ')}\n}};\n"


def structure(kind: str, name: str, fields: dict[str, Any]) -> str:
    r"""Returns the definition of a static constant structure; a dict is a structure within, a tuple an array.

    >>> structure("pool_t", "p", {"size": 3, "stage": {"low": -1}, "pair": (1, 2)})
    'static const pool_t p = {.size = 3, .stage = {.low = -1}, .pair = {1, 2}};\n'
    """
    return f"static const {kind} {name} = {_value(fields)};\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f".{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "{" + ", ".join(map(_value, value)) + "}"
    return value if isinstance(value, str) else number(value)
