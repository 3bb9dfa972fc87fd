"""Model -> Model: the same network with other numbers of outputs of some of its Dense and Conv layers."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from types import MappingProxyType

import flax.linen as nn

from gecko_jax.checks import listed, sizes
from gecko_jax.models.blueprint import with_step
from gecko_jax.programs import layer_path
from gecko_jax.types import Model

# What transforms further out ask for, who have the last word: {path: outputs} while a model is called.
_ASKED: contextvars.ContextVar[Mapping[str, int]] = contextvars.ContextVar("features", default=MappingProxyType({}))


def with_features(model: Model, features: Mapping[str, int]) -> Model:
    """Gives layers another number of filters or units than their module says, whichever module they belong to.

    What follows a layer takes its number of inputs from what it is given, as Flax's layers do.

    Args:
      model: a model made of Linen modules.
      features: {path of an `nn.Dense` or `nn.Conv`, "block1/Conv_0": its outputs}.

    Raises:
      ValueError: numbers below 1; when called, a path without such a layer.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model = with_features(models.create("mlp", 3, hidden=(8,)), {"dense1": 5})
    >>> model.init(jax.random.key(0), jnp.ones((1, 4)))["params"]["logits"]["kernel"].shape
    (5, 3)
    """
    numbers = dict(zip(features, sizes("features", features.values(), "outputs of a layer"), strict=True))

    def resized(function):
        def call(*args, **kwargs):
            seen: dict[str, str] = {}
            asked = {**numbers, **_ASKED.get()}

            def resize(next_fun, arguments, options, context):
                module = context.module
                path = layer_path(module) if context.method_name == "__call__" and module.scope is not None else None
                if path is None:
                    return next_fun(*arguments, **options)
                seen[path] = type(module).__name__
                if path not in asked or not isinstance(module, (nn.Dense, nn.Conv)):
                    return next_fun(*arguments, **options)
                before = module.features
                object.__setattr__(module, "features", asked[path])  # past Flax's guard: for this call alone
                try:
                    return next_fun(*arguments, **options)
                finally:
                    object.__setattr__(module, "features", before)

            token = _ASKED.set(asked)
            try:
                with nn.intercept_methods(resize):
                    result = function(*args, **kwargs)
            finally:
                _ASKED.reset(token)
            if wrong := [path for path in numbers if seen.get(path) not in ("Dense", "Conv")]:
                layers = listed((path for path, kind in seen.items() if kind in ("Dense", "Conv")), 20)
                raise ValueError(f"features names {listed(wrong)}; the nn.Dense and nn.Conv of the model are {layers}.")
            return result

        return call

    smaller = model._replace(init=resized(model.init), apply=resized(model.apply))
    return with_step(smaller, "with_features", {"features": numbers}, before=model.blueprint)
