"""Signals: what an attacker reads off a model, one number a record or several.

Most are pure functions of a model's outputs and the labels: of a classifier's logits (`loss`, `phi`, `entropy`, ...), a
language model's (`sequence_loss`, `token_losses`, `min_20_probability`), a regression's predictions (`squared_error`).
Calling one reads it, off one model or off several: `signals.loss(logits, y)`. The others need more and only declare so
(`needs`). Of those that need the model itself, `gecko_jax.probes` holds what reads them, and an audit of a model asks
for it. `reference_ratio` needs the losses of reference models, and `zlib_ratio`, `lowercase_ratio` and `neighborhood`
need texts (`probes.language_signals`): `audit.from_signals` takes their values. `exit_posteriors` needs to know which
exit of a multi-exit model answered, and `activation_profile` what a split network sends its server:
`audit.audit_models(..., probed=...)` takes their values.

A signal says which way it points (`larger`), so that no attack keeps the sign of another file.

To add one: one file with a `Signal`, and one line in `SIGNALS`. One that needs the model has a reader too, one file and
one line in `gecko_jax.probes.READERS`. An attack names the object: `attacks.lira(signal=signals.squared_error)`.
"""

from __future__ import annotations

from gecko_jax.signals.activation_profile import activation_profile, profile_of_activation
from gecko_jax.signals.boundary_distance import boundary_distance
from gecko_jax.signals.confidence import confidence
from gecko_jax.signals.correct import correct
from gecko_jax.signals.entropy import entropy
from gecko_jax.signals.exit_posteriors import exit_posteriors, posteriors_and_exit
from gecko_jax.signals.hinge import hinge
from gecko_jax.signals.hinge_on_record import hinge_on_record
from gecko_jax.signals.label_robustness import label_robustness
from gecko_jax.signals.labeled_posteriors import labeled_posteriors
from gecko_jax.signals.layer_gradients import layer_gradients
from gecko_jax.signals.loss import loss
from gecko_jax.signals.lowercase_ratio import lowercase_ratio
from gecko_jax.signals.min_k import min_20_probability, min_k_probability
from gecko_jax.signals.modified_entropy import modified_entropy
from gecko_jax.signals.neighborhood import neighborhood
from gecko_jax.signals.phi import phi
from gecko_jax.signals.reference_ratio import reference_ratio, reference_ratio_signal
from gecko_jax.signals.sensitivity import sensitivity
from gecko_jax.signals.sequence_loss import sequence_loss
from gecko_jax.signals.signal import NEEDS, Signal, check_signal
from gecko_jax.signals.small_gradient import small_gradient
from gecko_jax.signals.soft_loss import soft_loss
from gecko_jax.signals.squared_error import squared_error
from gecko_jax.signals.token_losses import token_losses
from gecko_jax.signals.top_posteriors import top_posteriors
from gecko_jax.signals.true_confidence import true_confidence
from gecko_jax.signals.white_box import white_box
from gecko_jax.signals.zlib_ratio import zlib_ratio

SIGNALS: dict[str, Signal] = {
    "confidence": confidence,
    "correct": correct,
    "entropy": entropy,
    "hinge": hinge,
    "labeled_posteriors": labeled_posteriors,
    "loss": loss,
    "modified_entropy": modified_entropy,
    "phi": phi,
    "soft_loss": soft_loss,
    "top_posteriors": top_posteriors,
    "true_confidence": true_confidence,
    "min_20_probability": min_20_probability,
    "sequence_loss": sequence_loss,
    "token_losses": token_losses,
    "lowercase_ratio": lowercase_ratio,
    "neighborhood": neighborhood,
    "reference_ratio": reference_ratio,
    "zlib_ratio": zlib_ratio,
    "squared_error": squared_error,
    "activation_profile": activation_profile,
    "boundary_distance": boundary_distance,
    "exit_posteriors": exit_posteriors,
    "hinge_on_record": hinge_on_record,
    "label_robustness": label_robustness,
    "layer_gradients": layer_gradients,
    "sensitivity": sensitivity,
    "small_gradient": small_gradient,
    "white_box": white_box,
}

__all__ = [
    "NEEDS",
    "SIGNALS",
    "Signal",
    "activation_profile",
    "boundary_distance",
    "check_signal",
    "confidence",
    "correct",
    "entropy",
    "exit_posteriors",
    "hinge",
    "hinge_on_record",
    "label_robustness",
    "labeled_posteriors",
    "layer_gradients",
    "loss",
    "lowercase_ratio",
    "min_20_probability",
    "min_k_probability",
    "modified_entropy",
    "neighborhood",
    "phi",
    "posteriors_and_exit",
    "profile_of_activation",
    "reference_ratio",
    "reference_ratio_signal",
    "sensitivity",
    "sequence_loss",
    "small_gradient",
    "soft_loss",
    "squared_error",
    "token_losses",
    "top_posteriors",
    "true_confidence",
    "white_box",
    "zlib_ratio",
]
