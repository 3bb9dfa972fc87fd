"""Records read back from JSON's own types, by the types of their fields."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

NUMBERS = ("nan", "inf", "-inf")  # as `json_values.plain` spells them


def decode(hint: Any, value: Any, where: str) -> Any:
    """Returns a value of a type from what JSON holds of it: the inverse of `json_values.plain`.

    Args:
      hint: a NamedTuple, str, int, float, bool, `X | None`, Any, or a Sequence, tuple or Mapping of such types.
        Sequences become tuples; an int stays one where a float is expected.
      value: dicts, lists, strings, numbers and None.
      where: what it is, for messages.

    Raises:
      ValueError: naming the place, if the value is not of the type.

    >>> from collections.abc import Sequence
    >>> decode(Sequence[float], [1, 0.5, "inf"], "figures")
    (1, 0.5, inf)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else decode(inner, value, where)
    if hasattr(hint, "_fields"):
        return hint(**decode_fields(hint, value, where))
    if origin is collections.abc.Mapping and isinstance(value, Mapping):
        return {key: decode(arguments[1], part, f"{where}[{key!r}]") for key, part in value.items()}
    if origin in (collections.abc.Sequence, tuple) and isinstance(value, list):
        return tuple(decode(arguments[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    if hint is float and value in NUMBERS:
        return float(value)
    kinds = {float: (int, float), int: int, str: str, bool: bool}.get(hint, ())
    if isinstance(value, kinds) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}.")


def decode_fields(noun: type, values: Any, where: str) -> dict[str, Any]:
    """Returns the fields of a NamedTuple or dataclass as its constructor takes them; absent ones keep their defaults.

    Raises:
      ValueError: naming the place, for a field that the noun has not, or one that is absent and has no default.
    """
    hints = typing.get_type_hints(noun)
    fields = list(getattr(noun, "_fields", getattr(noun, "__dataclass_fields__", ())))
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}; expected an object with the fields of {noun.__name__}.")
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{where} has fields that {noun.__name__} has not: {', '.join(unknown)}.")
    return {name: decode(hints[name], values[name], f"{where}.{name}") for name in fields if name in values}
