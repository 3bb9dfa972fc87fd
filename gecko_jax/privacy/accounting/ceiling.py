"""The most that a membership attack can reach under a guarantee, to compare with the figures of an audit."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from gecko_jax.privacy.accounting.accountants import rough_epsilon
from gecko_jax.privacy.accounting.epsilon import Epsilon, no_noise
from gecko_jax.privacy.accounting.groups import group_log_deltas
from gecko_jax.privacy.accounting.participation import is_exact
from gecko_jax.types import Array

CURVE_POINTS = 65  # of the (epsilon, delta) curve, each of which is a bound on its own


def tpr_ceiling(epsilon: Epsilon | float, fpr: Array, delta: float | None = None) -> float | np.ndarray:
    """Returns the largest true-positive rate of any membership attack at a false-positive rate, under a guarantee.

      min(1, e^epsilon FPR + delta, 1 - e^-epsilon (1 - delta - FPR))

    An `Epsilon` knows its run, and a run is (epsilon, delta)-private at every epsilon with a delta of its own: its
    ceiling is the minimum over that curve, well below the ceiling of a single point. The ceiling bounds the expected
    rates over training runs, for one record whose membership is a coin flip; figures of a finite sample may exceed it
    by their sampling error.

    Args:
      epsilon: an `Epsilon`, of `privacy.epsilon` (for several records of one person: of `group_epsilon`), or a
        number of at least 0.
      fpr: in 0..1, a number or an array.
      delta: with a number, its delta in [0, 1), 0 if None; with an `Epsilon` it has its own.

    Returns:
      A float, or an array of the shape of fpr.

    Raises:
      ValueError: a value out of range; a delta beside an `Epsilon`; one by the central limit theorem, not a bound.

    Source: Kairouz, Oh, Viswanath, "The composition theorem for differential privacy" (ICML 2015), theorem 2.1.

    >>> round(tpr_ceiling(1.0, 0.01), 4)  # 0.01 e
    0.0272
    >>> [round(float(one), 3) for one in tpr_ceiling(2.0, [0.0, 0.01, 0.5], delta=1e-5)]
    [0.0, 0.074, 0.932]
    """
    fpr = np.asarray(fpr, np.float64)
    if not ((fpr >= 0) & (fpr <= 1)).all():
        raise ValueError("fpr holds values outside 0..1, or NaN; expected false-positive rates.")
    if isinstance(epsilon, Epsilon):
        if delta is not None:
            raise ValueError(f"delta={delta!r} is beside an Epsilon, which has its own ({epsilon.delta!r}): omit it.")
        value = _of_run(epsilon, fpr)
    else:
        delta = 0.0 if delta is None else delta
        if not 0 <= delta < 1:
            raise ValueError(f"delta={delta!r} must be at least 0 and below 1, for example 1e-5.")
        if not epsilon >= 0:
            raise ValueError(f"epsilon={epsilon!r} must be at least 0, or an Epsilon of privacy.epsilon.")
        value = _of_points(np.array([epsilon], np.float64), np.array([delta], np.float64), fpr)
    return float(value) if value.ndim == 0 else value


def _of_points(epsilons: np.ndarray, deltas: np.ndarray, fpr: np.ndarray) -> np.ndarray:
    """Returns the lowest ceiling of (epsilons, deltas) [k] at each of fpr [...]."""
    epsilons, deltas, fpr = epsilons[:, None], deltas[:, None], fpr[None]
    flat = fpr.reshape(1, -1)
    with np.errstate(divide="ignore"):
        called = np.exp(np.minimum(np.minimum(epsilons, 1e300) + np.log(flat), 0.0)) + deltas
    called = np.where(np.isinf(epsilons), 1.0, called)
    passed = 1 - np.exp(-epsilons) * np.maximum(1 - deltas - flat, 0.0)
    return np.minimum(np.minimum(called, passed).min(0), 1.0).reshape(fpr.shape[1:])


def _of_run(epsilon: Epsilon, fpr: np.ndarray) -> np.ndarray:
    phases, adjacency = epsilon.phases, epsilon.adjacency
    if epsilon.accountant == "clt":
        raise ValueError("epsilon by accountant='clt' is not a bound: no ceiling follows from it. Use the default.")
    if no_noise(phases):
        return np.ones_like(fpr)
    if is_exact(phases):  # the Gaussian mechanism's own trade-off curve
        shift = epsilon.records * (2.0 if adjacency == "replace_one" else 1.0)
        mu = shift * math.hypot(*(math.sqrt(phase.releases) / phase.effective_noise_multiplier for phase in phases))
        return special.ndtr(special.ndtri(fpr) + min(mu, 1e300))  # 0 at an FPR of 0, however little noise
    far = max(float(epsilon), epsilon.records * rough_epsilon(phases, 1e-9, adjacency))
    points = np.unique(np.append(np.linspace(0.0, 1.0, CURVE_POINTS) ** 2 * far, float(epsilon)))
    log_deltas = group_log_deltas(phases, points, adjacency, epsilon.records)
    deltas = np.exp(log_deltas)
    at_epsilon = points == float(epsilon)
    deltas[at_epsilon] = np.minimum(deltas[at_epsilon], epsilon.delta)
    return _of_points(points, deltas, fpr)
