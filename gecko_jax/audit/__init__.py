"""Audits: predictors or their saved outputs -> Signals -> attacks -> Report.

`audit` takes a predict function, `from_predictions` an .npz of outputs, `audit_models` the outputs of an ensemble in
which every model is a target in turn, `audit_ensemble` those models themselves, `audit_model` the outputs of one model
alone. A threshold is never chosen on the target and records it is judged on: it comes from shadow models, each playing
a fake target, or, where there are none, from the other half of the records. NumPy throughout; JAX ends at the
predictor, its shadows and the `probes`, which read more off a model than its logits.
"""

from __future__ import annotations

from gecko_jax.audit.chosen import best_of
from gecko_jax.audit.claim import ClaimRefuted
from gecko_jax.audit.differences import differences
from gecko_jax.audit.ensemble import audit_ensemble
from gecko_jax.audit.leave_one_out import audit_models
from gecko_jax.audit.one_model import audit_model
from gecko_jax.audit.predictions import from_predictions
from gecko_jax.audit.predictor import audit
from gecko_jax.audit.report import Report

__all__ = [
    "ClaimRefuted",
    "Report",
    "audit",
    "audit_ensemble",
    "audit_model",
    "audit_models",
    "best_of",
    "differences",
    "from_predictions",
]
