"""Finds the modules of a network that a method's paths name, and refuses those that it cannot serve."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.core.tracers import current_trace

from gecko_jax import checks
from gecko_jax.models.fine_tuning.part import PARTS, Part, Site, outermost
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import traced_under
from gecko_jax.trees import named_leaves
from gecko_jax.types import Array, Model, Variables


def find_sites(model: Model, part: Part, key: Array, x: Any) -> dict[str, Callable[[Array], Variables]]:
    """Returns {path: key -> fresh parameters} of the modules that the method's paths name; nothing is computed.

    Args:
      model, part: as of `with_parts`.
      key, x: as of the model's init; one row of x will do.

    Raises:
      ValueError: an expression without a module, or a module that the method cannot serve.
    """
    candidates: dict[str, str] = {}
    seen: dict[str, tuple[int, ...]] = {}
    starts, sites, nested, outside = {}, {}, set(), []

    @outermost
    def note(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name != "__call__":
            return output
        site = Site(context.module, args, kwargs, output)
        if site.path.startswith(f"{PARTS}/") or not part.serves(site):
            return output
        candidates[site.path] = type(site.module).__name__
        if site.path not in sites and any(re.search(pattern, site.path) for pattern in part.paths):
            sites[site.path] = site._replace(args=(), kwargs={}, output=None)
            starts[site.path] = part.start(part.build(site), site)
            seen.update(_seen_shapes(site.module))
            if current_trace() != outside[0] and not _seen_shapes(site.module):
                nested.add(site.path)
        return output

    def forward(key, x):
        outside.append(current_trace())
        return model.init(key, x)

    with nn.intercept_methods(note), traced_under(object()):
        shapes = jax.eval_shape(forward, key, x)
    _check_found(part, candidates, sites)
    stored = {name: leaf.shape for name, leaf in named_leaves(shapes["params"])}
    lifted = [name for name, shape in seen.items() if stored.get(name) != shape]
    if lifted or nested:
        raise ValueError(
            f"fine_tuning.{part.name}: {checks.listed([*lifted, *sorted(nested)])}: nn.scan or nn.vmap stacks these "
            "layers, and all of a stack would share one part. Write the layers out in a Python loop, or name other "
            "paths."
        )
    if part.check is not None:
        part.check(model, shapes, x, sites)
    return starts


def _seen_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the parameters as the module sees them, or of the module around one without any."""
    around: Any = module
    while isinstance(around, nn.Module) and around.scope is not None:
        if params := around.variables.get("params"):
            prefix = f"{layer_path(around)}/".lstrip("/")
            return {prefix + name: tuple(leaf.shape) for name, leaf in named_leaves(params)}
        around = around.parent
    return {}


def _check_found(part: Part, candidates: dict[str, str], sites: dict[str, Site]) -> None:
    for pattern in part.paths:
        if not any(re.search(pattern, path) for path in sites):
            known = ", ".join(f"{path or '(top)'} ({kind})" for path, kind in candidates.items())
            raise ValueError(
                f"fine_tuning.{part.name}: paths: {pattern!r} is found in the path of no {part.kind}. Those of the "
                f"model: {known or 'none'}. Name some of them by paths=(regular expression, ...)."
            )
