"""A module of the network whose call a method changes, and what the method puts beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from gecko_jax.programs import layer_path
from gecko_jax.surroundings import plain
from gecko_jax.trees import shapes, take
from gecko_jax.types import Array, Model, Variables

PARTS = "fine_tuning"  # the place of all parts' parameters


class Site(NamedTuple):
    """One call of a module of the network.

    Attributes:
      module: the bound module.
      args, kwargs: of its call.
      output: what it returned; None before it is called.
    """

    module: nn.Module
    args: tuple
    kwargs: dict[str, Any]
    output: Any = None

    @property
    def path(self) -> str:
        """The module's path, such as "block0/mlp"."""
        return layer_path(self.module)


class Part(NamedTuple):
    """What a method puts beside the modules that its paths name.

    Attributes:
      name: of the method.
      paths: regular expressions searched in the modules' paths.
      kind: what these modules must be, for messages: "a layer with a kernel".
      serves: Site -> whether the module is of that kind; the others are never meant by a path.
      build: Site -> the unbound Linen module to put beside it, a function of shapes and settings alone. It raises
        ValueError for a module that the method cannot serve.
      start: (that module, Site) -> its variables as a function of a key.
      call: (the bound part, call of the module, Site, name of the method that is called) -> the module's new output.
      methods: of the network's modules, which are intercepted.
      constants: further collections that the parts read and that never change.
      check: (inner model, its variables as shapes, x, sites by path) -> None; raises ValueError.
    """

    name: str
    paths: tuple[str, ...]
    kind: str
    serves: Callable[[Site], bool]
    build: Callable[[Site], nn.Module]
    start: Callable[[nn.Module, Site], Callable[[Array], Variables]]
    call: Callable[[Any, Callable[..., Any], Site, str], Any]
    methods: tuple[str, ...] = ("__call__",)
    constants: Mapping[str, Any] = MappingProxyType({})
    check: Callable[[Model, Variables, Any, dict[str, Site]], None] | None = None


def once_for_shapes(function: Callable[[Array, Any], Any]) -> Callable[[Array, Any], Any]:
    """Keeps what a function of (key, x) returns for one row of x, a function of its shapes and types alone.

    Args:
      function: reads shapes only; interceptors that are active around the call take no part.
    """
    results: dict[Any, Any] = {}

    def call(key, x):
        row = take(x, slice(0, 1))
        leaves, structure = jax.tree.flatten(shapes(row))
        at = (structure, tuple(leaves), jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
        if at not in results:
            with plain():
                results[at] = function(key, row)
        return results[at]

    return call


def outermost(interceptor: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an interceptor so that it sees the outermost call of a bound module alone, not that of super().__call__.

    Args:
      interceptor: see `nn.intercept_methods`.
    """
    active = []

    def once(next_fun, args, kwargs, context):
        if context.module.scope is None or (call := (context.module.path, context.method_name)) in active:
            return next_fun(*args, **kwargs)
        active.append(call)
        try:
            return interceptor(next_fun, args, kwargs, context)
        finally:
            active.pop()

    return once
