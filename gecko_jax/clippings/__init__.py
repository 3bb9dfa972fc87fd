"""Clipping rules: how much of each example's gradient goes into the private sum. One rule a file.

A rule is a `types.Clipping` (norms -> factors, with its sensitivity), or a `types.AdaptiveClipping` if its threshold
follows the norms by a noised count. How the known rules are related; R is the clip norm, t an example's gradient norm:

  flat           R / max(t, R)                    the clipping of DP-SGD
  per_layer      R_r / max(t_r, R_r)              flat in each group r; sensitivity sqrt(sum R_r^2)
  global_norm    R / Z if t <= Z, else 0          flat at Z, longer gradients dropped, times R / Z
  global_adapt   R / max(t, Z)                    flat at Z, times R / Z; Z adaptive
  quantile       R / max(t, R)                    flat; R adaptive
  automatic      R / (t + gamma)                  normalized: R and the learning rate are one setting
  psac           R / (t + r / (t + r))            normalized, with less weight for small gradients

Guarantee: factor * norm <= sensitivity for every norm, over all groups in the L2 norm, whatever the example and
whatever the other rows of the batch. Under add-or-remove one example moves the private sum by at most the sensitivity;
under replace-one, by at most twice as much. The guarantee is checked numerically when a rule is built. A rule of your
own is checked once, when it enters private gradients; `check_rule` and `check_adaptive_rule` check it earlier.

Edge cases: the factor at a norm t. A gradient of zeros contributes 0 under every rule, whatever its factor.

  rule                     t = 0       tiny t (1e-30)    huge t (1e30)    t = inf or NaN
  flat, quantile           1           1                 R / t            0
  per_layer                1           1                 R_r / t_r        0 in that group
  global_norm              R / Z       R / Z             0                0
  global_adapt             R / Z       R / Z             R / t            0
  automatic                R / gamma   R / gamma         R / t            0
  automatic_vanilla        R / 1e-12   R / 1e-12         R / t            0
  psac                     R           R                 R / t            0

An infinite or NaN gradient is dropped: its example contributes 0, and training goes on. Thresholds lie in 1e-12..1e12.

The same arguments give the same object (functools.cache), so that fits with equal rules share a compiled program.
"""

from gecko_jax.clippings.automatic import automatic
from gecko_jax.clippings.flat import flat
from gecko_jax.clippings.global_adapt import global_adapt
from gecko_jax.clippings.global_norm import global_norm
from gecko_jax.clippings.per_layer import layer_budgets, per_layer
from gecko_jax.clippings.psac import psac
from gecko_jax.clippings.quantile import quantile
from gecko_jax.clippings.trial import check_adaptive_rule, check_rule

# name -> factory; its first argument is the clip norm (per_layer's: a mapping of them). A new rule: one file and one
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
    "check_rule",
    "check_adaptive_rule",
    "flat",
    "global_adapt",
    "global_norm",
    "layer_budgets",
    "per_layer",
    "psac",
    "quantile",
]
