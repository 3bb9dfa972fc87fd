"""The outputs of a network's modules, read or replaced while the network runs, by the modules' paths."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
from flax.core.tracers import current_trace

from gecko_jax.programs import layer_path
from gecko_jax.surroundings import surroundings, traced_under


class Reached(Exception):
    """Ends a forward pass at a module; `outputs` is what the pass returns in the network's place."""

    def __init__(self, outputs: Any):
        super().__init__("the forward pass ends here")
        self.outputs = outputs


@contextlib.contextmanager
def changed_outputs(matches: Callable[[str], bool], change: Callable[[str, Any], Any]) -> Iterator[None]:
    """Passes the output of each matching module through a function, while the block runs.

    The outermost module of a matching path counts: what it calls itself is left alone. What `change` calls is not.

    Args:
      matches: path of a module, such as "block1" -> whether it is meant.
      change: (path, what the module returned) -> what its caller gets.

    Raises:
      ValueError: in the block, a matching module inside nn.jit, nn.remat, nn.scan or nn.vmap.

    >>> import jax, jax.numpy as jnp
    >>> net, seen = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)]), []
    >>> with changed_outputs("layers_0".__eq__, lambda path, output: seen.append(output.shape) or output):
    ...     _ = net.init(jax.random.key(0), jnp.ones((3, 5)))
    >>> seen
    [(3, 4)]
    """
    outermost, inside = current_trace(), []

    def note(next_fun, args, kwargs, context):
        if context.method_name != "__call__" or context.module.scope is None or inside:
            return next_fun(*args, **kwargs)
        if not matches(path := layer_path(context.module)):
            return next_fun(*args, **kwargs)
        inside.append(path)
        try:
            output = next_fun(*args, **kwargs)
        finally:
            inside.pop()
        if current_trace() != outermost:
            raise ValueError(
                f"the module {path!r} runs inside nn.jit, nn.remat, nn.scan or nn.vmap, where its output cannot be "
                "read from outside. Write the layers out, or name another module."
            )
        return change(path, output)

    with nn.intercept_methods(note), traced_under(surroundings()):
        yield
