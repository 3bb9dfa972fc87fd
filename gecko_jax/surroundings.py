"""What surrounds a call of a Linen module and changes what it computes: interceptors, and layers that were replaced.

A traced program or a list of layers that is kept must not outlive them. Tools that convert a network replace
`nn.Dense.__call__` or `nn.Dense` itself while they work; `nn.intercept_methods` changes what any layer does. JAX's own
settings (precision, 64 bits, the device) are part of its cache's key; these two are not, so that they are added here.
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


def _linen() -> dict[tuple[str, str], Any]:
    """{(name, ""): the class of that name in Linen, (name, method): what computes in the class as imported}."""
    modules = [(name, value) for name, value in _CLASSES.items() if issubclass(value, nn.Module)]
    methods = {(name, method): vars(value).get(method) for name, value in modules for method in ("__call__", "attend")}
    return {(name, ""): vars(nn).get(name) for name in _CLASSES} | methods


_ORIGINAL = _linen()


def replaced() -> tuple[tuple[tuple[str, str], Any], ...]:
    """((name, method), what stands there now) of Linen's classes and methods that another tool has replaced."""
    now = _linen()
    if now == _ORIGINAL:
        return ()
    return tuple((name, now[name]) for name in sorted(now) if now[name] is not _ORIGINAL[name])


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within the block Linen is as it was imported, and no interceptor is active: what a module does of itself."""
    tools = replaced()
    for key, _ in tools:
        _put(key, _ORIGINAL[key])
    held = [_STACK.pop() for _ in range(len(_STACK))]
    try:
        yield
    finally:
        for interceptor in reversed(held):
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
    """The interceptors that are active, the outermost last."""
    return tuple(_STACK)


def surroundings() -> Hashable:
    """A key that differs wherever the same module may compute something else; None in plain surroundings."""
    return (interceptors(), replaced()) if len(_STACK) or replaced() else None


def traced_under(key: Hashable):
    """A context in which `jax.jit` uses no program that was traced under another key; None stands for no key."""
    return contextlib.nullcontext() if key is None else _CONTEXT(key)


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit`, whose programs are kept apart by what surrounds the call.

    Args:
      function: what `jax.jit` takes.
      **options: of `jax.jit`.

    >>> import jax.numpy as jnp
    >>> float(jit(lambda x: x + 1)(jnp.float32(2)))
    3.0
    """
    program = jax.jit(function, **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        with traced_under(surroundings()):
            return program(*args, **kwargs)

    for name in ("lower", "trace", "eval_shape", "clear_cache", "_cache_size"):  # what else a jitted function offers
        setattr(call, name, getattr(program, name))
    return call
