"""Layerwise clipping: each group of parameters is shortened to a clip norm of its own (McMahan et al. 2018)."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from gecko_jax.checks import not_empty
from gecko_jax.clippings.base import threshold_of
from gecko_jax.clippings.flat import shorten
from gecko_jax.clippings.trial import register
from gecko_jax.trees import named_leaves
from gecko_jax.types import Clipping


def per_layer(clip_norms: Mapping[str, float]) -> Clipping:
    """Clips each group of parameters to a norm of its own: C_r = min(1, R_r / t_r) for the norm t_r of group r.

    The sensitivity is sqrt(sum_r R_r^2). A group whose norm is infinite or NaN has factor 0; the others keep theirs.

    Args:
      clip_norms: {regular expression: R_r}, searched in a parameter's path ("Dense_0/kernel"). The first expression
        that matches a parameter decides, so the order counts. R_r is in the unit of the gradient's norm, 1e-12 to 1e12.
        `layer_budgets` builds such a mapping for a tree of parameters.

    Returns:
      A Clipping of one group for each expression.

    Raises:
      ValueError: no mapping, no group, an expression that does not compile, an R_r outside its range.

    Source: McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018 (arXiv 1710.06963).

    >>> import jax.numpy as jnp
    >>> rule = per_layer({"kernel": 3.0, "bias": 4.0})
    >>> rule.sensitivity, rule.scale(jnp.array([[6.0, 1.0]])).tolist()
    (5.0, [[0.5, 1.0]])
    """
    if not isinstance(clip_norms, Mapping):
        raise ValueError(f"clip_norms={clip_norms!r} must map expressions to clip norms; see layer_budgets.")
    not_empty("clip_norms", clip_norms)
    return _per_layer(tuple((path, threshold_of(f"clip_norms[{path!r}]", r)) for path, r in clip_norms.items()))


@functools.cache
def _per_layer(clip_norms: tuple[tuple[str, float], ...]) -> Clipping:
    groups, bounds = zip(*clip_norms, strict=True)

    def scale(norms):
        norms = jnp.asarray(norms)
        if norms.ndim == 0 or norms.shape[-1] != len(bounds):
            raise ValueError(f"norms has shape {norms.shape}; its last axis must have length {len(bounds)}: {groups}.")
        return shorten(jnp.broadcast_to(jnp.asarray(bounds, norms.dtype), norms.shape))(norms)

    return register(Clipping("per_layer", scale, math.hypot(*bounds), groups), norms=bounds)


def layer_budgets(params: Any, clip_norm: float) -> dict[str, float]:
    """Shares one total clip norm R equally among L layers: {expression for each layer: R / sqrt(L)}, for `per_layer`.

    A layer is all parameters with the same parent ("Dense_0/kernel" and "Dense_0/bias"), or one without a parent.

    Args:
      params: the tree of parameters (`variables["params"]`).
      clip_norm: R, the sensitivity of the rule, in the unit of the gradient's norm.

    Returns:
      A mapping in the tree's order. No parameter is matched by two of its expressions.

    Raises:
      ValueError: a tree without parameters, all `variables` instead of their params, or shares outside 1e-12..1e12.

    >>> layer_budgets({"Dense_0": {"bias": 0, "kernel": 0}, "Dense_1": {"kernel": 0}}, 2**0.5)
    {'^Dense_0/[^/]+$': 1.0, '^Dense_1/[^/]+$': 1.0}
    """
    if isinstance(params, Mapping) and "params" in params:
        raise ValueError('params has a key "params": pass variables["params"], the tree of parameters alone.')
    names = not_empty("params", [name for name, _ in named_leaves(params)])
    layers = dict.fromkeys(_layer(name) for name in names)
    share = threshold_of("clip_norm / sqrt(layers)", clip_norm / math.sqrt(len(layers)))
    return dict.fromkeys(layers, share)


def _layer(name: str) -> str:
    parent, slash, _ = name.rpartition("/")
    return f"^{re.escape(parent)}/[^/]+$" if slash else f"^{re.escape(name)}$"
