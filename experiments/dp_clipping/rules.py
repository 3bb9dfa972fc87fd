"""The rows of the study: how each clips. A new row is one line in RULES."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gecko_jax import clippings
from gecko_jax.types import AdaptiveClipping, Clipping


class Rule(NamedTuple):
    """One row.

    Attributes:
      label: in the table.
      make: (R, Z, parameters) -> the rule, or None: nothing is clipped or noised.
      note: what a reader should know of the row.
    """

    label: str
    make: Callable[[float, float, Any], Clipping | AdaptiveClipping | None]
    note: str = ""


RULES = {
    "none": Rule("Not private", lambda r, z, params: None, "no clipping, no noise: epsilon is infinite"),
    "flat": Rule("Local flat", lambda r, z, params: clippings.flat(r), "min(1, R / t)"),
    "per_layer": Rule(
        "Local layerwise",
        lambda r, z, params: clippings.per_layer(clippings.layer_budgets(params, r)),
        "each layer's gradient to R / sqrt(layers)",
    ),
    "global": Rule("Global, Z = R", lambda r, z, params: clippings.global_norm(r), "unchanged or dropped"),
    "global_high": Rule(
        "Global, Z high", lambda r, z, params: clippings.global_norm(r, z), "all times R / Z; over Z dropped"
    ),
    "global_adapt": Rule(
        "Global-adapt", lambda r, z, params: clippings.global_adapt(r, z), "R / max(t, Z), Z by a noised count"
    ),
    "automatic": Rule("AUTO-S", lambda r, z, params: clippings.automatic(r), "R / (t + 0.01)"),
}
