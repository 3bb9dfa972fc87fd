"""Audits: how much of its training set a model gives away, by membership inference.

Ways in, each a file; all of them return a `Report`:

- `audit`: a predict function or a Model, with shadow models by its recipe.
- `audit_ensemble`: models that were trained together; each is a target in turn, the others are its shadows.
- `audit_language_model`: a language model, or several, from rows of text and from reference models.
- `audit_versions`: several released versions (float, quantized) of models; `audit` takes predictors of one target too.
- `audit_models`, `audit_model`: the outputs of several models, or of one.
- `from_signals`: saved losses, or another signal, of any models.
- `from_predictions`: an .npz file of outputs or of signals.

Beside membership, `attribute_inference` asks what a model's representations tell of the authors of texts.

Rooms, in the order in which an audit goes through them:

- `validity/`: is the question well put? Overlapping records, designs that bias a figure, baselines without the model.
- `reading/`: what is read off the models: Readings of the target and of its shadows.
- `scoring/`: which attacks run, and the thresholds at which they say "member".
- `report/`: figures with intervals, a claim beside its lower bound, tables, JSON, pages, a gate for test suites.

A threshold is never chosen on the target and the records that it is judged on: it comes from shadow models, each of
which stands in for the target, or without shadows from the other half of the records. NumPy throughout; JAX ends at
the models and at `gecko_jax.probes`, which read more off a model than its outputs.
"""

from __future__ import annotations

from gecko_jax.audit.attribute_inference import AttributeInference, attribute_difference, attribute_inference
from gecko_jax.audit.ensemble import audit_ensemble
from gecko_jax.audit.from_file import from_predictions
from gecko_jax.audit.from_predictor import audit
from gecko_jax.audit.from_signals import from_signals
from gecko_jax.audit.language_model import audit_language_model
from gecko_jax.audit.many_models import audit_models, audit_versions
from gecko_jax.audit.reading.by_user import by_user
from gecko_jax.audit.report.paired import differences
from gecko_jax.audit.report.privacy_claim import ClaimRefuted
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.report.side_by_side import page
from gecko_jax.audit.scoring.attack_plan import check_attacks
from gecko_jax.audit.scoring.selection import best_of
from gecko_jax.audit.single_model import audit_model
from gecko_jax.audit.validity.bag_of_tokens import bag_of_tokens

__all__ = [
    "AttributeInference",
    "ClaimRefuted",
    "Report",
    "attribute_difference",
    "attribute_inference",
    "audit",
    "audit_ensemble",
    "audit_language_model",
    "audit_model",
    "audit_models",
    "audit_versions",
    "bag_of_tokens",
    "best_of",
    "by_user",
    "check_attacks",
    "differences",
    "from_predictions",
    "from_signals",
    "page",
]
