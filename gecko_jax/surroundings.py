"""The context of a call of a Linen module that changes what it computes: interceptors, and layers that were replaced.

A cached program or list of layers must not outlive its context. Tools that convert a network replace
`nn.Dense.__call__` or `nn.Dense` itself while they work; `nn.intercept_methods` changes what any layer does. JAX's own
settings (precision, 64 bits, the device) are part of its cache's key. These two are not, so they are added here.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import flax.linen as nn
import jax

_STACK = nn.module._global_interceptor_stack  # Flax has no public way to ask which interceptors are active
_CONTEXT = jax.make_user_context(default_value=None)


_CLASSES = {name: value for name, value in vars(nn).items() if isinstance(value, type)}


def _places() -> dict[tuple[str, str], tuple[Any, str]]:
    """Returns (live namespace, attribute) of Linen's classes, keys (name, ""), and their methods, (name, method)."""
    modules = [(name, value) for name, value in _CLASSES.items() if issubclass(value, nn.Module)]
    methods = {(name, method): (vars(value), method) for name, value in modules for method in ("__call__", "attend")}
    return {(name, ""): (vars(nn), name) for name in _CLASSES} | methods


_PLACES = _places()
_ORIGINAL = {key: namespace.get(attribute) for key, (namespace, attribute) in _PLACES.items()}
# Every call of a program asks whether one has changed, so that what to ask is prepared.
_ASKED = [(key, namespace.get, attribute, _ORIGINAL[key]) for key, (namespace, attribute) in sorted(_PLACES.items())]


def replaced() -> tuple[tuple[tuple[str, str], Any], ...]:
    """Returns ((name, method), replacement) of each class and method of Linen that another tool has replaced.

    >>> replaced()
    ()
    """
    return tuple((key, get(attribute)) for key, get, attribute, original in _ASKED if get(attribute) is not original)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Restores Linen as it was imported, without interceptors, while a block runs.

    >>> unchanged = lambda call, args, kwargs, context: call(*args, **kwargs)
    >>> with nn.intercept_methods(unchanged), plain():
    ...     interceptors()
    ()
    """
    tools = replaced()
    for key, _ in tools:
        _put(key, _ORIGINAL[key])
    removed = [_STACK.pop() for _ in range(len(_STACK))]
    try:
        yield
    finally:
        for interceptor in reversed(removed):
            _STACK.push(interceptor)
        for key, value in tools:
            _put(key, value)


def _put(key: tuple[str, str], value: Any) -> None:
    name, method = key
    owner, attribute = (_CLASSES[name], method) if method else (nn, name)
    if value is not None:
        setattr(owner, attribute, value)
    elif attribute in vars(owner):
        delattr(owner, attribute)


def interceptors() -> tuple[Any, ...]:
    """Returns the active interceptors, the outermost last.

    >>> interceptors()
    ()
    """
    return tuple(_STACK)


def surroundings() -> Hashable:
    """Returns a key that differs if the same module may compute something else; None in plain surroundings.

    >>> surroundings() is None
    True
    """
    return (interceptors(), replaced()) if len(_STACK) or replaced() else None


def traced_under(key: Hashable):
    """Returns a context in which `jax.jit` uses no program that was traced under another key.

    Args:
      key: of `surroundings`, or any other hashable value; None for no key.

    >>> traces = []
    >>> program = jax.jit(lambda x: traces.append(x))  # a list grows only while JAX traces
    >>> for key in ("first", "second", "first"):
    ...     with traced_under(key):
    ...         program(1.0)
    >>> len(traces)
    2
    """
    return contextlib.nullcontext() if key is None else _CONTEXT(key)


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compiles a function as `jax.jit` does, with a program for each of the surroundings that it is called in.

    Args:
      function: what `jax.jit` takes.
      **options: of `jax.jit`.

    Returns:
      The function, with the methods of a jitted one.

    >>> import jax.numpy as jnp
    >>> float(jit(lambda x: x + 1)(jnp.float32(2)))
    3.0
    """
    program = jax.jit(function, **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        with traced_under(surroundings()):
            return program(*args, **kwargs)

    for name in (
        "lower",
        "trace",
        "eval_shape",
        "clear_cache",
        "_cache_size",
    ):  # what a jitted function offers
        setattr(call, name, getattr(program, name))
    return call
