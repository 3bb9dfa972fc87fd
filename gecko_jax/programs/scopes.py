"""Ties the steps of a program to the layers that compute them, by names that are put around each layer's call."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import flax.linen as nn
import jax

_LAYER = re.compile(r"layer\[([^\]]*)\]")


def layer_path(module: nn.Module) -> str:
    """Returns a bound module's path, such as "block/Dense_0"; "" for the top.

    Args:
      module: a Linen module inside a call.

    >>> block = nn.Sequential([nn.Dense(4), nn.relu]).bind({})
    >>> layer_path(block), layer_path(block.layers[0])
    ('', 'layers_0')
    """
    return "/".join(str(part) for part in module.path)


@contextlib.contextmanager
def layer_scopes() -> Iterator[dict[str, str]]:
    """Names each Linen layer in the scopes of what its `__call__` computes, while the block is traced.

    Yields:
      {path: class name} of the modules, filled as they are called.

    >>> from gecko_jax.programs.flatten import trace
    >>> layers = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)])
    >>> variables = layers.init(jax.random.key(0), jax.numpy.ones((1, 3)))
    >>> with layer_scopes() as kinds:
    ...     program, _ = trace(layers.apply, variables, jax.numpy.ones((1, 3)))
    >>> [(step.name, layer_of(step.scope)) for step in program.steps if step.name in ("dot_general", "max")]
    [('dot_general', 'layers_0'), ('max', ''), ('dot_general', 'layers_2')]
    >>> kinds
    {'': 'Sequential', 'layers_0': 'Dense', 'layers_2': 'Dense'}
    """
    kinds: dict[str, str] = {}

    def name(next_fun, args, kwargs, context):
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        path = layer_path(context.module)
        kinds[path] = type(context.module).__name__
        with jax.named_scope(f"layer[{path}]"):
            return next_fun(*args, **kwargs)

    with nn.intercept_methods(name):
        yield kinds


def layer_of(scope: str) -> str | None:
    """Returns the path of the innermost layer that a step's scope names; None outside of every layer.

    Args:
      scope: of a step that was traced within `layer_scopes`.

    Returns:
      Such as "block/Dense_0"; "" for the top module.

    >>> layer_of("Net/layer[]/block/layer[block/Dense_0]/Dense_0"), layer_of("loss")
    ('block/Dense_0', None)
    """
    names = _LAYER.findall(scope)
    return names[-1] if names else None
