"""Clipping rules: how much of each example's gradient goes into the private sum. One rule a file.

Each is a `types.Clipping` (norms -> factors, with the sensitivity that they keep to) or, where the threshold follows
the norms by a noised count, a `types.AdaptiveClipping`. How the known ones are related, R the clip norm, t the norm:

  flat           R / max(t, R)                    the clipping of DP-SGD
  per_layer      R_r / max(t_r, R_r)              flat in each group; sensitivity sqrt(sum R_r^2)
  global_norm    R / Z where t <= Z, else 0       flat at Z, the longer ones dropped, times R / Z
  global_adapt   R / max(t, Z)                    flat at Z, times R / Z; Z adaptive
  quantile       R / max(t, R)                    flat; R adaptive
  automatic      R / (t + gamma)                  normalised: R and the learning rate are one setting
  psac           R / (t + r / (t + r))            normalised, but for the small ones

The bound factor * norm <= sensitivity is tried when a rule is built. A rule of your own is tried when it enters private
gradients, once; `checked` and `checked_adaptive` do the same earlier. The same
arguments give the same object (functools.cache), so that fits with equal rules share a compiled program.
"""

from gecko_jax.clippings.automatic import automatic
from gecko_jax.clippings.flat import flat
from gecko_jax.clippings.global_adapt import global_adapt
from gecko_jax.clippings.global_norm import global_norm
from gecko_jax.clippings.per_layer import layer_budgets, per_layer
from gecko_jax.clippings.psac import psac
from gecko_jax.clippings.quantile import quantile
from gecko_jax.clippings.trial import checked, checked_adaptive

# name -> factory; its first argument is the clip norm, and per_layer's a mapping of them. A new rule: one file and one
# line here; the contract test runs over the table.
CLIPPINGS = {
    "flat": flat,
    "per_layer": per_layer,
    "global_norm": global_norm,
    "automatic": automatic,
    "automatic_vanilla": lambda clip_norm: automatic(clip_norm, variant="vanilla"),
    "psac": psac,
    "quantile": quantile,
    "global_adapt": global_adapt,
}

__all__ = [
    "CLIPPINGS",
    "automatic",
    "checked",
    "checked_adaptive",
    "flat",
    "global_adapt",
    "global_norm",
    "layer_budgets",
    "per_layer",
    "psac",
    "quantile",
]
