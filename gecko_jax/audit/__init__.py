"""Audits: predictors or their saved outputs -> Signals -> attacks -> Report.

`audit` takes a predict function, `from_predictions` an .npz of outputs, `audit_models` the outputs of an ensemble in
which every model is a target in turn, `audit_ensemble` those models themselves, `audit_model` the outputs of one model
alone. A threshold is never chosen on the target and records it is judged on: it comes from shadow models, each playing
a fake target, or, where there are none, from the other half of the records. NumPy throughout; JAX ends at the
predictor, its shadows and the `probes`, which read more off a model than its logits.
"""

from __future__ import annotations

from gecko_jax.audit.ensemble import audit_ensemble
from gecko_jax.audit.from_file import from_predictions
from gecko_jax.audit.from_predictor import audit
from gecko_jax.audit.from_signals import from_signals
from gecko_jax.audit.many_models import audit_models
from gecko_jax.audit.report.paired import differences
from gecko_jax.audit.report.privacy_claim import ClaimRefuted
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.report.side_by_side import page
from gecko_jax.audit.scoring.selection import best_of
from gecko_jax.audit.single_model import audit_model

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
    "from_signals",
    "page",
]
