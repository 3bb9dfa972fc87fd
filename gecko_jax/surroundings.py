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


def _linen() -> dict[tuple[str, str], Any]:
    """{(name, method): the object} of Linen's public modules, and of the methods that compute."""
    classes = {name: value for name, value in vars(nn).items() if isinstance(value, type)}
    methods = {
        (name, method): vars(value)[method]
        for name, value in classes.items()
        for method in ("__call__", "attend")
        if issubclass(value, nn.Module) and method in vars(value)
    }
    return {**{(name, ""): value for name, value in classes.items()}, **methods}


_ORIGINAL = _linen()


def replaced() -> tuple[tuple[tuple[str, str], Any], ...]:
    """((name, method), what stands there now) of Linen's classes and methods that another tool has replaced."""
    now = _linen()
    if now == _ORIGINAL:
        return ()
    names = sorted({*now, *_ORIGINAL})
    return tuple((name, now.get(name)) for name in names if now.get(name) is not _ORIGINAL.get(name))


def interceptors() -> tuple[Any, ...]:
    """The interceptors that are active, the outermost last."""
    return tuple(_STACK)


def surroundings() -> Hashable:
    """A key that differs wherever the same module may compute something else; None in plain surroundings."""
    return (interceptors(), replaced()) if len(_STACK) or replaced() else None


@contextlib.contextmanager
def without_interceptors() -> Iterator[None]:
    """Within the block no interceptor is active: what a module does of itself."""
    held = [_STACK.pop() for _ in range(len(_STACK))]
    try:
        yield
    finally:
        for interceptor in reversed(held):
            _STACK.push(interceptor)


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

    return call
