"""The tail of the targets' losses, an estimate of the leakage that needs no shadow models."""

from __future__ import annotations

import numpy as np

from gecko_jax import metrics
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.report.results import AuditResults
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.types import Estimate

FNRS = {"tnr_at_1pct_fnr": 0.01, "tnr_at_0p1pct_fnr": 0.001}
SHOWN = "tnr_at_1pct_fnr"


def loss_tails(readings: Readings, audited: AuditedRecords) -> dict[str, Estimate]:
    """Returns `metrics.loss_tail` at each of FNRS: of one target over its records, of several the mean over targets.

    {} if no loss was read.

    Args:
      readings: of m targets on n records.
      audited: the records, and member [m, n].
    """
    if (signal := readings.loss_signal) is None or signal not in readings.available:
        return {}
    if audited.y is None and signal.name not in readings.values:
        return {}
    losses = np.asarray(readings.signal(signal, audited.y)[0], np.float64)
    losses = losses if signal.larger == "nonmembers" else -losses
    pairs = list(zip(losses, audited.member, strict=True))
    result = {}
    for name, fnr in FNRS.items():
        tails = [metrics.loss_tail(*pair, fnr=fnr) for pair in pairs]
        mean = metrics.mean_interval([tail.value for tail in tails]) if len(tails) > 1 else None
        result[name] = tails[0] if mean is None else mean.map(lambda part: float(np.clip(part, 0.0, 1.0)))
    return result


def in_words(results: AuditResults) -> list[str]:
    """Returns what the tail says, as a list of one sentence; [] if no loss was read."""
    if SHOWN not in results.loss_tail:
        return []
    value, low, high = (100 * float(part or 0.0) for part in results.loss_tail[SHOWN][:3])
    return [
        f"Loss tail: {value:.1f} [{low:.1f}, {high:.1f}] % of the non-members have a larger loss than 99 % of the "
        "members, which estimates LiRA's TPR at 1 % FPR without shadow models; it bounds nothing."
    ]
