"""Removes the weakest hidden units of a transformer's MLPs: Model -> Model, a narrower transformer."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.checks import integer
from gecko_jax.json_values import dumps
from gecko_jax.models.blueprint import build
from gecko_jax.models.heads import SmallerModel, transformer_settings
from gecko_jax.types import Model, Variables


def with_mlp_width(model: Model, variables: Variables, mlp_width: int) -> SmallerModel:
    """Keeps the `mlp_width` strongest hidden units of each block's MLP, and removes the others.

      strength of unit j = |up[:, j], its bias| |down[j]|

    Args:
      model: a transformer of `models.create` that no other transform was put on.
      variables: its variables.
      mlp_width: hidden units of each block that stay.

    Returns:
      A SmallerModel, which may be trained, quantized, saved and priced as any other.

    Raises:
      ValueError: another model, or more units than it has.

    Source: pruning by magnitude, as Li et al. 2020, "Train large, then compress" (arXiv 2002.11794), section 4, does
    with single weights; whole units save bytes without a format for sparse matrices.

    >>> import jax
    >>> from gecko_jax import models
    >>> model, x = models.create("transformer", 9, layers=1, width=8, heads=2), jnp.ones((1, 3), int)
    >>> narrow = with_mlp_width(model, jax.jit(model.init)(jax.random.key(0), x), 20)
    >>> narrow.variables["params"]["block0"]["mlp"]["down"]["kernel"].shape
    (20, 8)
    """
    settings, params = transformer_settings(model), dict(variables["params"])
    integer("mlp_width", mlp_width, 1)
    for name in [name for name in params if name.startswith("block")]:
        up, down = params[name]["mlp"]["up"], params[name]["mlp"]["down"]
        units = up["kernel"].shape[1]
        if mlp_width > units:
            raise ValueError(f"mlp_width={mlp_width} exceeds the {units} units of {name}; units are only removed.")
        others = {part: tree for part, tree in params[name]["mlp"].items() if part not in ("up", "down")}
        if others:
            raise ValueError(
                f"the activation of {name} has parameters of its own ({', '.join(others)}), which may belong to the "
                "units; narrow a transformer whose activation has none."
            )
        into = jnp.square(up["kernel"]).sum(0) + jnp.square(up["bias"])
        strength = into * jnp.square(down["kernel"]).sum(1)
        strongest = jnp.sort(jnp.argsort(-strength)[:mlp_width])
        mlp = {
            "up": {"kernel": up["kernel"][:, strongest], "bias": up["bias"][strongest]},
            "down": {**down, "kernel": down["kernel"][strongest]},
        }
        params[name] = {**params[name], "mlp": mlp}
    narrower = build((("create", dumps({**settings, "mlp_width": mlp_width})),))
    return SmallerModel(narrower, {**variables, "params": params})
