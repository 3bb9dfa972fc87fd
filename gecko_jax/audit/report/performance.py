"""The targets' performance on members and on non-members: a large gap often comes with leakage."""

from __future__ import annotations

import numpy as np

from gecko_jax import metrics
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.report.figures import Histogram, counts_in_bins, model_accuracies
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Estimate

LOSSES = ("loss", "sequence_loss", "squared_error", "soft_loss")  # the first that was read is shown
BINS = 20


def performance(readings: Readings, audited: AuditedRecords) -> dict[str, dict[str, Estimate]]:
    """Returns the targets' own metric on "members" and on "nonmembers", by the metric's name.

    The accuracy if there are class outputs, else the mean of the first loss that was read; {} if there is none, or an
    infinite one.

    Args:
      readings: of m targets on n records.
      audited: the records, and member [m, n].
    """
    if readings.logits is not None and audited.y is not None:
        return {"accuracy": model_accuracies(SIGNALS["correct"](readings.logits, audited.y), audited.member)}
    for name in LOSSES:
        if SIGNALS[name] in readings.available:
            losses = readings.signal(SIGNALS[name], audited.y)[0]
            if np.isfinite(losses).all():
                return {f"mean {name.replace('_', ' ')}": _mean_losses(losses, audited.member)}
    return {}


def confidence_histogram(readings: Readings, audited: AuditedRecords) -> Histogram | None:
    """Returns counts of the largest probability of members and of non-members; None without class outputs."""
    if readings.logits is None or audited.y is None:
        return None
    confidence = SIGNALS["confidence"](readings.logits, audited.y)
    return counts_in_bins(np.linspace(0.0, 1.0, BINS + 1), np.minimum(confidence, 1.0), audited.member)


def _mean_losses(losses: np.ndarray, member: np.ndarray) -> dict[str, Estimate]:
    """Returns the mean losses of targets [m, n] with Student's t interval; for one target, over its records."""
    result = {}
    for name, mask in (("members", member), ("nonmembers", ~member)):
        rows = [row[inside] for row, inside in zip(losses, mask, strict=True)]
        result[name] = metrics.mean_interval(rows[0] if len(rows) == 1 else [row.mean() for row in rows])
    return result
