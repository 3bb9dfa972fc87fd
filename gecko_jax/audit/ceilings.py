"""The most that an attack can find if a claimed guarantee holds: a ceiling beside every figure of an audit."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax import metrics, privacy
from gecko_jax.audit.figures import FPRS, GRID, PPV_FPR, PRIORS
from gecko_jax.privacy import Epsilon


def ceilings(epsilon: Epsilon) -> dict[str, float]:
    """The largest expected figure of any attack on an (epsilon, delta) private model, by metric.

    The largest TPR at an FPR f is `privacy.tpr_ceiling`, min(e^epsilon f + delta, 1 - e^-epsilon (1 - delta - f), 1):
    two lines that meet at f* = (1 - delta) / (1 + e^epsilon), where the TPR is 1 - f*. The attack accuracy is at most
    1 - f*, the advantage 1 - 2 f*, the AUC the area under the ceiling, a PPV the one of the largest TPR at its FPR.
    These are bounds of expectations: a figure of few records may lie above by chance, which its interval shows.

    >>> from gecko_jax.privacy import Epsilon
    >>> round(ceilings(Epsilon(0.0, 0.0, "add_or_remove", "pld", ()))["auc"], 3)
    0.5
    """
    delta = epsilon.delta
    corner = (1 - delta) * math.exp(-float(np.logaddexp(0.0, float(epsilon))))
    area = corner * (delta + 1 - corner) / 2 + (1 - delta - corner) * (2 - corner) / 2 + delta
    found = {"auc": area, "attack_accuracy": 1 - corner, "advantage": 1 - 2 * corner}
    found |= {name: tpr_ceiling(epsilon, fpr) for name, fpr in FPRS.items()}
    top = tpr_ceiling(epsilon, PPV_FPR)
    found |= {
        name: float(metrics.positive_predictive_value(top, PPV_FPR, prior)) for name, prior in PRIORS.items()
    }
    return {name: float(min(value, 1.0)) for name, value in found.items()}


def tpr_ceiling(epsilon: Epsilon, fpr: float) -> float:
    """The largest TPR at one FPR that the guarantee allows."""
    return float(privacy.tpr_ceiling(float(epsilon), fpr, delta=epsilon.delta))


def ceiling_curve(epsilon: Epsilon) -> tuple[list[float], list[float]]:
    """(fpr, tpr): the ceiling at the points of the ROC curves' grid."""
    return GRID.tolist(), [tpr_ceiling(epsilon, fpr) for fpr in GRID]
