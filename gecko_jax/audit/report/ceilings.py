"""Ceilings: the largest figures that any attack can reach if a claimed guarantee holds."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from gecko_jax import metrics, privacy
from gecko_jax.audit.report.figures import FPRS, GRID, PPV_FPR, PRIORS
from gecko_jax.privacy import Epsilon

# False-positive rates between which a run's ceiling is integrated: fine where it is steep.
EDGES = np.unique(np.concatenate([np.linspace(0.0, 1.0, 20_001), np.logspace(-9, 0, 1801)]))


def ceilings(epsilon: Epsilon) -> dict[str, float]:
    """Returns the largest expected figure of any attack under a guarantee, by metric.

    The largest TPR at an FPR f is `privacy.tpr_ceiling`, at most min(e^epsilon f + delta, 1 - e^-epsilon (1 - delta -
    f), 1): two lines that meet at f* = (1 - delta) / (1 + e^epsilon), where the TPR is 1 - f*. So the attack accuracy
    is at most 1 - f*, the advantage 1 - 2 f*, the AUC the area under the two lines; and a PPV the one of the largest
    TPR at its FPR. Of an `Epsilon` that knows its run the ceiling is lower, and so are its area and its height.
    These are bounds of expectations: a figure of few records may lie above by chance, which its interval shows.

    >>> from gecko_jax.privacy import Epsilon
    >>> round(ceilings(Epsilon(0.0, 0.0, "add_or_remove", "pld", ()))["auc"], 3)
    0.5
    """
    delta = epsilon.delta
    corner = (1 - delta) * math.exp(-float(np.logaddexp(0.0, float(epsilon))))
    area = corner * (delta + 1 - corner) / 2 + (1 - delta - corner) * (2 - corner) / 2 + delta
    gap = 1 - 2 * corner
    curve = _curve(_hashable(epsilon))
    if _knows_its_run(epsilon):
        # Both are upper bounds: a concave curve lies below its tangents (the midpoint rule), and it does not fall.
        area = min(area, float(curve.middles @ np.diff(EDGES)))
        gap = min(gap, float((curve.edges[1:] - EDGES[:-1]).max()))
    bounds = {"auc": area, "attack_accuracy": (1 + gap) / 2, "advantage": gap}
    bounds |= dict(zip(FPRS, curve.named, strict=True))
    bounds |= {name: metrics.positive_predictive_value(curve.ppv, PPV_FPR, prior) for name, prior in PRIORS.items()}
    return {name: float(min(value, 1.0)) for name, value in bounds.items()}


def ceiling_curve(epsilon: Epsilon) -> tuple[list[float], list[float]]:
    """Returns (fpr, tpr): the ceiling at the points of the ROC curves' grid."""
    return GRID.tolist(), _curve(_hashable(epsilon)).grid.tolist()


class _Curve(NamedTuple):
    """The largest TPR at EDGES, between them, at FPRS, at PPV_FPR and on GRID."""

    edges: np.ndarray
    middles: np.ndarray
    named: np.ndarray
    ppv: float
    grid: np.ndarray


@functools.lru_cache(maxsize=64)
def _curve(epsilon: Epsilon) -> _Curve:
    """Returns every point of the ceiling that an audit needs, by one call: each accounts for a run at many epsilons."""
    rates = EDGES, (EDGES[1:] + EDGES[:-1]) / 2, np.array([*FPRS.values()]), np.array([PPV_FPR]), GRID
    every = np.concatenate(rates)
    if _knows_its_run(epsilon):
        tpr = privacy.tpr_ceiling(epsilon, every)
    else:
        tpr = privacy.tpr_ceiling(float(epsilon), every, delta=epsilon.delta)
    edges, middles, named, ppv, grid = np.split(tpr, np.cumsum([len(part) for part in rates])[:-1])
    return _Curve(edges, middles, named, float(ppv[0]), grid)


def _knows_its_run(epsilon: Epsilon) -> bool:
    """Returns whether a claim holds the run that it accounts for.

    One without phases is a number and its delta. One by the central limit theorem is an approximation, not a bound.
    """
    return bool(epsilon.phases) and epsilon.accountant != "clt"


def _hashable(epsilon: Epsilon) -> Epsilon:
    return epsilon._replace(phases=tuple(epsilon.phases))
