"""Calls of recipes, and fingerprints of what they do: the same function with other contents is another recipe."""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.audit.validity import containers
from gecko_jax.digests import value_digest
from gecko_jax.types import Examples

SEEDS = ("seed", "random_state")  # names of a last parameter that gets an int
MAX_DEPTH = 6  # of nested functions that a fingerprint follows
PLAIN_TYPES = (str, bytes, int, float, complex, bool, type(None), np.generic)


def caller(recipe: Callable[..., Any], pool: Examples) -> Callable[[np.ndarray, jax.Array], Any]:
    """Returns (rows of the pool, key) -> what the recipe returns, whichever arguments it takes.

    A recipe takes (rows, key) or (x, y, key), the rows themselves and their labels. A last parameter that is named
    `seed` or `random_state` gets an int in 0..2^31-1 instead of a JAX key.

    Raises:
      ValueError: a recipe with another number of arguments.

    >>> caller(lambda rows, seed: type(seed).__name__, None)([0], jax.random.key(0))
    'int'
    """
    if not callable(recipe):
        raise ValueError(f"recipe is a {type(recipe).__name__}; expected a function of (rows, key) or (x, y, key).")
    names = _needed(recipe)
    if names is not None and len(names) not in (2, 3):
        raise ValueError(
            f"recipe takes the arguments ({', '.join(names)}); expected (rows, key), int32 rows of the pool, or (x, "
            "y, key). Name the last one seed to get an int."
        )

    def call(rows: np.ndarray, key: jax.Array) -> Any:
        last = int(jax.random.bits(key, (), "uint32")) >> 1 if names and names[-1] in SEEDS else key
        if names and len(names) == 3:
            return recipe(containers.take(containers.as_records(pool.x), rows), np.asarray(pool.y)[rows], last)
        return recipe(rows, last)

    return call


def _needed(function: Callable[..., Any]) -> list[str] | None:
    """Returns the names of the positional parameters without a default; None if they are unknown."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return None
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one.name for one in positional if one.default is one.empty]
    # (rows, seed=0) is called with both, because a default is for the recipe's other uses.
    return needed if len(needed) >= 2 else [one.name for one in positional[:2]]


def fingerprint(*parts: Any) -> str:
    """Returns a name for what functions do: their code, and the values that they hold, as far as these are values.

    Code is bytecode, so the name depends on the Python version; comments and line numbers have no part in it. Values
    are numbers, text, arrays, dicts and tuples of them, in closures, defaults, globals that the code names, and
    attributes. Lists and sets are left out, because a recipe may keep a log in one.

    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)
    True
    """
    homes = frozenset(home for part in parts for home in _homes(part))
    return value_digest(repr(sys.version_info[:2]), repr(_content(parts, 0, (), homes)))


def _homes(part: Any) -> list[str | None]:
    """Returns the modules of a function, also of those in a dict (of several versions) and of a partial."""
    if isinstance(part, Mapping):
        return [home for value in part.values() for home in _homes(value)]
    return _homes(part.func) if isinstance(part, functools.partial) else [getattr(part, "__module__", None)]


def _content(value: Any, depth: int, inside: tuple[int, ...], homes: frozenset[str | None]) -> Any:
    """Returns what decides a value's behavior; globals are followed in the modules `homes` alone, not in libraries."""
    if isinstance(value, PLAIN_TYPES):
        return repr(value)
    if depth > MAX_DEPTH or id(value) in inside:
        return type(value).__qualname__
    deeper = functools.partial(_content, depth=depth + 1, inside=(*inside, id(value)), homes=homes)
    if isinstance(value, (np.ndarray, jax.Array)) or containers.is_sparse(value):
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        return value_digest(value)
    if isinstance(value, tuple):
        return tuple(map(deeper, value))
    if isinstance(value, Mapping):
        pairs = ((str(_content(key, MAX_DEPTH, (), homes)), deeper(item)) for key, item in value.items())
        return tuple(sorted(pairs, key=repr))
    if isinstance(value, functools.partial):
        return "partial", *map(deeper, (value.func, value.args, value.keywords))
    if isinstance(value, types.MethodType):
        return "method", deeper(value.__func__), deeper(value.__self__)
    if isinstance(value, types.FunctionType):
        cells = [_of_cell(cell) for cell in value.__closure__ or ()]
        known = value.__globals__ if value.__module__ in homes else {}
        names = {name: known[name] for name in _names(value.__code__) if name in known}
        parts = (tuple(cells), value.__defaults__ or (), value.__kwdefaults__ or {}, names)
        return "function", _code(value.__code__), *map(deeper, parts)
    if callable(getattr(value, "__wrapped__", None)):  # jax.jit, functools.cache
        return type(value).__qualname__, deeper(value.__wrapped__)
    if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, type, list, set)):
        return getattr(value, "__qualname__", getattr(value, "__name__", type(value).__name__))
    if dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        call = vars(type(value)).get("__call__")
        code = deeper(call) if isinstance(call, types.FunctionType) else ""
        attributes = vars(value) if hasattr(value, "__dict__") else {}
        public = {name: item for name, item in attributes.items() if not name.startswith("_")}
        return type(value).__qualname__, code, deeper(public)
    return type(value).__qualname__


def _of_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _code(code: types.CodeType) -> Any:
    """Returns instructions with their arguments: no docstring, no names of files, no numbers of lines."""
    return tuple((one.opname, _constant(one.argval)) for one in dis.get_instructions(code)), code.co_varnames


def _constant(value: Any) -> Any:
    if isinstance(value, frozenset):  # whose order changes from one process to another
        return tuple(sorted(map(repr, value)))
    return _code(value) if isinstance(value, types.CodeType) else repr(value)


def _names(code: types.CodeType) -> list[str]:
    """Returns the names of globals (and of attributes) in a function and in those inside it, sorted."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return sorted(set(code.co_names).union(*map(_names, inner)))
