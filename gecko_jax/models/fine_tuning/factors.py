"""Two small layers whose product has the arrangement of one large layer's weight."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax.models.fine_tuning.part import Site
from gecko_jax.models.row_products import Dense
from gecko_jax.types import Array

KINDS = (nn.Dense, nn.DenseGeneral, nn.Embed, nn.Conv)


class Factors(nn.Module):
    """Computes B A x.

    Attributes:
      first, second: the layers A and B, which are named "a" and "b".
    """

    first: nn.Module
    second: nn.Module

    def setup(self):
        """Names the layers."""
        self.a, self.b = self.first.clone(name=None), self.second.clone(name=None)

    def __call__(self, x: Array, scale: float = 1.0) -> Array:
        """Returns scale * B A x, in the arrangement of the layer's outputs."""
        return self.b(scale * self.a(x))

    def attend(self, query: Array, scale: float = 1.0) -> Array:
        """Returns the products of query [..., features] with the rows of scale * B A, as `nn.Embed.attend` does."""
        table: Any = self.a
        rows = self.b.get_variable("params", "kernel")
        return table.attend(scale * jnp.dot(query, rows.T))


def factors_of(rank: int, site: Site) -> Factors:
    """Returns the factors of a layer's weight.

    Args:
      rank: width between them.
      site: a call of the layer.

    Raises:
      ValueError: a layer whose weight is not the product of two layers' weights.
    """
    layer, name = site.module, f"fine_tuning.lora: {site.path or '(top)'} ({type(site.module).__name__})"
    kind = next((kind for kind in KINDS if isinstance(layer, kind)), None)
    if kind is None or type(layer).__call__ is not kind.__call__:
        raise ValueError(
            f"{name} is none of {', '.join('nn.' + kind.__name__ for kind in KINDS)}, and what its weights are "
            "multiplied by is not known. Name other paths, or write the layer with one of these."
        )
    shared: dict[str, Any] = {"dtype": layer.dtype, "param_dtype": layer.param_dtype}
    zeros: dict[str, Any] = {"use_bias": False, "kernel_init": nn.initializers.zeros_init(), **shared}
    if isinstance(layer, nn.Embed):
        draw = nn.initializers.normal(rank**-0.5)
        table = nn.Embed(layer.num_embeddings, rank, embedding_init=draw, parent=None, **shared)
        return Factors(table, Dense(layer.features, parent=None, **zeros), parent=None)
    shared["precision"] = zeros["precision"] = layer.precision
    if isinstance(layer, nn.Conv):
        if layer.feature_group_count != 1 or layer.mask is not None:
            mask = "" if layer.mask is None else " and a mask"
            raise ValueError(
                f"{name} has feature_group_count={layer.feature_group_count}{mask}; two layers cannot compute the "
                "factors of a grouped or masked kernel. Name other paths."
            )
        start = nn.initializers.lecun_normal()
        narrow = layer.clone(features=rank, use_bias=False, kernel_init=start, name=None, parent=None)
        return Factors(narrow, Dense(layer.features, parent=None, **zeros), parent=None)
    if isinstance(layer, nn.DenseGeneral):
        if layer.batch_dims:
            raise ValueError(f"{name} has batch_dims={layer.batch_dims!r}: a weight for each index. Name other paths.")
        narrow = nn.DenseGeneral(rank, axis=layer.axis, use_bias=False, parent=None, **shared)
        return Factors(narrow, nn.DenseGeneral(layer.features, parent=None, **zeros), parent=None)
    narrow = Dense(rank, use_bias=False, parent=None, **shared)
    return Factors(narrow, Dense(layer.features, parent=None, **zeros), parent=None)
