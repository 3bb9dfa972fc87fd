"""Model -> Model: the same network with small modules beside some of its own, whose parameters a method trains.

The calls of the network's modules are intercepted, so that a user's own Flax module works unchanged. Each part is a
Linen module of its own, with plain layers inside, under the path "fine_tuning/<method>/<path of the module>": rules,
learning rates, costs and private training see its layers as they see any other.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
from flax.core import Scope

from gecko_jax import checks
from gecko_jax.keys import stream
from gecko_jax.models.added_parameters import added, put, with_parameters, without
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.fine_tuning.part import PARTS, Part, Site, once_for_shapes, outermost
from gecko_jax.models.fine_tuning.sites import find_sites
from gecko_jax.models.trace import traced
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.types import Model, Variables


def with_parts(model: Model, part: Part, settings: dict[str, Any]) -> Model:
    """Puts a method's modules beside those of a model.

    Args:
      model: any model of Linen modules.
      part: the method.
      settings: the method's arguments, from which `models.load` builds it again.

    Returns:
      A model with further parameters under params["fine_tuning"][part.name], one tree for each module.
    """
    sites = once_for_shapes(functools.partial(find_sites, model, part))

    def init(key, x):
        starts = sites(key, x)
        variables = model.init(key, x)
        if part.name in variables["params"].get(PARTS, {}):
            raise ValueError(f"model has parameters of {part.name!r} already: apply fine_tuning.{part.name} once.")
        fresh = {path: start(stream(key, PARTS, part.name, path)) for path, start in starts.items()}
        return put(variables, (PARTS, part.name), fresh)

    def apply(variables, x, *, key=None, train=False):
        parameters, inner = _own(variables, part.name), without(variables, (PARTS, part.name))
        seen = set()

        @outermost
        def change(next_fun, args, kwargs, context):
            site = Site(context.module, args, kwargs)
            if context.method_name not in part.methods or site.path not in parameters:
                return next_fun(*args, **kwargs)
            seen.add(site.path)
            collections = {"params": parameters[site.path], **part.constants}
            scope = Scope(collections, mutable=False, path=(PARTS, part.name, site.path))
            return part.call(part.build(site).clone(parent=scope), next_fun, site, context.method_name)

        # A program that a layer keeps for itself (nn.jit) would hold the parameters of the call that it was made in.
        is_nested = bool(traced(model, inner, x).nested)
        with nn.intercept_methods(change), traced_under(object() if is_nested else surroundings()):
            result = model.apply(inner, x, key=key, train=train)
        if lost := sorted(set(parameters) - seen):
            raise ValueError(
                f"fine_tuning.{part.name}: the calls of {checks.listed(lost)} were not seen, so that its parameters "
                "had no effect: the model does not call them on these inputs, or another tool stands in their place."
            )
        return result

    changed = with_parameters(model, (PARTS, part.name), init, apply)
    return with_step(changed, PARTS, {"method": part.name, "settings": settings}, before=model.blueprint)


def _own(variables: Variables, name: str) -> dict[str, Any]:
    try:
        return added(variables, (PARTS, name))
    except KeyError:
        raise ValueError(
            f"variables hold no parameters of {name!r} in params[{PARTS!r}]. fine_tuning.start(model, "
            "pretrained, key, x) adds them to those of the pre-trained model."
        ) from None
