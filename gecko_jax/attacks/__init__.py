"""Membership-inference attacks: Signals -> scores, larger means more likely a member, always.

How the known ones arise: a signal (`gecko_jax.signals`), computed once from a model's outputs, and a pure function of
that signal's values under the target and under shadow models. Of the target alone: `loss` is Yeom et al. 2018 (`yeom`
with the threshold that their attacker is told), `gap` their one bit, `confidence` and `entropy` Salem et al. 2019,
`modified_entropy` Song and Mittal 2021. Against models that had the record and models that had not: `lira` (Carlini et
al. 2022), `rmia`, `base`, the ladder `base_gaussian` that leads from RMIA to LiRA, `bavaria`, which is LiRA under
priors (Braennvall 2026), and `hierarchical_lira`, ours, under one prior of both sides, for few models. Only against
models that had not: their offline forms, `calibrated_loss`, `reference_rank`. `salem` and `shokri` learn from the
shadows what tells members. The threshold is not part of an attack, except for `yeom`: an audit chooses it on data that
it does not evaluate.

Others read a signal that needs the model itself and not its outputs alone. By labels: `label_only` and `boundary`
(Choquette-Choo et al. 2021). By gradients, in a white box: `small_gradient`, `lira_gradients` (LiRA on each leaf's
norm), `nasr` (Nasr et al. 2019, a network). `samia` (Yuan and Zhang 2022) is a transformer on posteriors and how they
answer to a small change of the input. `quantile_regression` (Bertran et al. 2023) reads the record itself beside its
hinge, and needs no shadows if there is a population. `hybrid` (Li et al. 2022) reads which exit of a multi-exit model
answered, beside the largest posteriors; `server` what a split network sends.

On language models, `reference_ratio` (Mireshghallah et al. 2022) compares a fine-tuned model with its pre-trained copy
or with another reference. `min_k`, `zlib_ratio`, `lowercase_ratio` and `neighborhood` compare a text with itself.

An attack names a Signal object. `loss`, `lira`, `rmia`, `base`, `calibrated_loss`, `reference_rank` and
`population_rank` take another one: `lira(signal=signals.sequence_loss)` attacks a language model,
`signals.squared_error` a regression. Several queries a record (augmented copies) are a sequence of Signals, whose
scores are averaged.

`per_class` gives an attack a threshold for each class, `augment` names one that is asked about augmented copies, and
`leave_one_out` makes every model of an ensemble a target.

To add an attack: one file with one factory, and one line in `ATTACKS`. The Attack itself says what it needs
(`Attack.needs`), and audits, scripts and studies run it from then on; the contract test runs over the table. Helpers
for its score: `moments.side` (mean and variance of IN and OUT models), `moments.bounded` (infinities), `references`
(averages over reference models), `direction.pointing` (the sign of a signal), `stand_in` (a shadow as the target).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.base_gaussian import base_gaussian
from gecko_jax.attacks.bavaria import bavaria
from gecko_jax.attacks.bayes import base
from gecko_jax.attacks.calibrated_loss import calibrated_loss
from gecko_jax.attacks.combinators import augment, leave_one_out, per_class, stand_in
from gecko_jax.attacks.confidence import confidence
from gecko_jax.attacks.entropy import entropy
from gecko_jax.attacks.gap import gap
from gecko_jax.attacks.hierarchical_lira import hierarchical_lira
from gecko_jax.attacks.language import lowercase_ratio, min_k, neighborhood, zlib_ratio
from gecko_jax.attacks.lira import lira
from gecko_jax.attacks.loss import loss
from gecko_jax.attacks.modified_entropy import modified_entropy
from gecko_jax.attacks.nasr import nasr
from gecko_jax.attacks.networks import hybrid, salem, server, shokri
from gecko_jax.attacks.population_rank import population_rank
from gecko_jax.attacks.probed import boundary, label_only, small_gradient
from gecko_jax.attacks.quantile_regression import quantile_regression
from gecko_jax.attacks.reference_rank import reference_rank
from gecko_jax.attacks.reference_ratio import reference_ratio
from gecko_jax.attacks.rmia import rmia
from gecko_jax.attacks.samia import samia
from gecko_jax.attacks.yeom import yeom

# Name -> factory with the usual settings; first those that read the target alone. This is the one list: an audit runs
# every attack of it whose `Attack.needs` are met, and its report names the others, each with what it lacks.
ATTACKS: dict[str, Callable[..., Attack]] = {
    "confidence": confidence,
    "entropy": entropy,
    "gap": gap,
    "loss": loss,
    "modified_entropy": modified_entropy,
    "yeom": yeom,
    "min_k": min_k,
    "reference_ratio": reference_ratio,
    "lowercase_ratio": lowercase_ratio,
    "zlib_ratio": zlib_ratio,
    "neighborhood": neighborhood,
    "label_only": label_only,
    "boundary": boundary,
    "small_gradient": small_gradient,
    "base": base,
    "base_offline": functools.partial(base, online=False),
    "base2": functools.partial(base_gaussian, 2),
    "base2_offline": functools.partial(base_gaussian, 2, online=False),
    "base3": functools.partial(base_gaussian, 3),
    "base4": functools.partial(base_gaussian, 4),
    "bavaria_n": functools.partial(bavaria, form="n"),
    "bavaria_n_offline": functools.partial(bavaria, online=False, form="n"),
    "bavaria_t": bavaria,
    "bavaria_t_offline": functools.partial(bavaria, online=False),
    "calibrated_loss": calibrated_loss,
    "hierarchical_lira": hierarchical_lira,
    "hierarchical_lira_offline": functools.partial(hierarchical_lira, online=False),
    "lira": lira,
    "lira_gradients": functools.partial(lira, signal=signals.layer_gradients),
    "lira_example": functools.partial(lira, variance="example"),
    "lira_student": functools.partial(lira, variance="student"),
    "lira_offline": functools.partial(lira, online=False),
    "lira_offline_example": functools.partial(lira, online=False, variance="example"),
    "lira_offline_student": functools.partial(lira, online=False, variance="student"),
    "nasr": nasr,
    "hybrid": hybrid,
    "population_rank": population_rank,
    "quantile_regression": quantile_regression,
    "reference_rank": reference_rank,
    "rmia": rmia,
    "rmia_offline": functools.partial(rmia, online=False),
    "salem": salem,
    "samia": samia,
    "server": server,
    "shokri": shokri,
}
# The published thresholds on a classifier.
OF_THE_TARGET = tuple(name for name, make in ATTACKS.items() if not make().needs and make().signal.outputs != "tokens")

__all__ = [
    "ATTACKS",
    "OF_THE_TARGET",
    "Attack",
    "augment",
    "base",
    "base_gaussian",
    "bavaria",
    "boundary",
    "calibrated_loss",
    "confidence",
    "entropy",
    "gap",
    "hierarchical_lira",
    "hybrid",
    "label_only",
    "leave_one_out",
    "lira",
    "loss",
    "lowercase_ratio",
    "min_k",
    "modified_entropy",
    "nasr",
    "neighborhood",
    "per_class",
    "population_rank",
    "quantile_regression",
    "reference_rank",
    "reference_ratio",
    "rmia",
    "salem",
    "samia",
    "server",
    "shokri",
    "small_gradient",
    "stand_in",
    "yeom",
    "zlib_ratio",
]
