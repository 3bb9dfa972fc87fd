"""BaVarIA: LiRA with a normal-inverse-gamma prior on each record's mean and variance, in place of a switch."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from gecko_jax import checks, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.densities import log_normal, log_student
from gecko_jax.attacks.direction import check_number, name_on
from gecko_jax.attacks.moments import bounded, check_both_sides, side
from gecko_jax.signals import Signal
from gecko_jax.types import Signals

PRIOR_SHAPE = {"t": 2.0, "n": 1.0}  # alpha0; with 2, the prior predictive has a finite variance
PRIOR_OBSERVATIONS = 1.0  # kappa0: what the mean of all records counts for
TINY = np.finfo(np.float64).tiny


def bavaria(online: bool = True, form: str = "t", signal: Signal = signals.phi) -> Attack:
    """Scores a log ratio of predictive densities, IN over OUT, under normal-inverse-gamma priors.

    On each side, of c models with mean m and sum of squared deviations S, and of the mean mu0 and the variance v0 of
    all values of that side, whatever record they are of:

      kappa = kappa0 + c           alpha = alpha0 + c / 2           kappa0 = 1, alpha0 = 2 ("t") or 1 ("n")
      beta  = beta0 + S / 2 + kappa0 c (m - mu0)^2 / (2 kappa)      beta0 = v0 max(alpha0 - 1, 1)
      "t":  Student t, 2 alpha degrees of freedom, location (kappa0 mu0 + c m) / kappa,
            scale^2 = beta (kappa + 1) / (alpha kappa)
      "n":  normal, mean m, variance beta / (alpha - 1)

    Offline no record's IN models are read: every record's IN side is the prior, of which mu0 and v0 are those of the
    shadows' members together.

    Where records differ more from each other than models do on one record, v0 is far too wide, and the attack is weak
    with few models: of a network that fits its members wholly it finds less than RMIA. The published comparison is with
    a LiRA whose fixed variance is as wide, and with RMIA at temperature 1.

    LiRA with Student's t (`lira(variance="student")`) is a relative: its prior variance is the one within a record, not
    that of all values, which is larger by the spread between records; it counts for 8 observations instead of 2 (t) or
    none (n); the mean is not drawn towards that of all records (kappa0 = 0); and offline it is one-sided.

    Args:
      online: whether the shadows' members are read record by record.
      form: "t" for the posterior predictive, "n" for the normal distribution of its mean variance.
      signal: one number a record that points one way.

    Returns:
      An Attack. Calling it raises a ValueError if all shadows had every record, or none had any: one side then has no
      prior.

    Raises:
      ValueError: an unknown form, or a signal of several numbers a record.

    Source: Braennvall, "Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA" (2026), arXiv
    2603.11799. Priors and constants are those of its public demonstration code (exponential-family-mia, methods.py).

    >>> shadows = np.array([[5.0, 1.0], [4.0, 2.0], [1.0, 5.0], [2.0, 4.0]])
    >>> scores = bavaria()(Signals(shadows, shadows > 3, np.array([4.5, 1.5])))
    >>> bool(scores[0] > 0 > scores[1])
    True
    """
    checks.one_of("form", form, tuple(PRIOR_SHAPE))
    check_number(signal)
    name = name_on(f"bavaria_{form}" + ("" if online else "_offline"), signal, signals.phi)

    def score(read: Signals) -> np.ndarray:
        check_both_sides(name, read.member)
        values, target = bounded(read)
        inside, outside = (_posterior(values, mask, form) for mask in (read.member, ~read.member))
        if not online:
            inside = _prior(values, read.member, form)
        return _log_predictive(target, inside, form) - _log_predictive(target, outside, form)

    return Attack(name, signal, score, shadows=1, on=functools.partial(bavaria, online, form))


class _Posterior(NamedTuple):
    """A normal-inverse-gamma distribution of n records; `sample_mean` is that of the values alone."""

    location: np.ndarray
    sample_mean: np.ndarray
    kappa: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray


def _prior(values: np.ndarray, chosen: np.ndarray, form: str) -> _Posterior:
    every, shape = values[chosen], PRIOR_SHAPE[form]
    mean, beta = every.mean(), max(every.var() * max(shape - 1.0, 1.0), TINY)
    full = functools.partial(np.full, values.shape[1])
    return _Posterior(full(mean), full(mean), full(PRIOR_OBSERVATIONS), full(shape), full(beta))


def _posterior(values: np.ndarray, chosen: np.ndarray, form: str) -> _Posterior:
    prior, of_side = _prior(values, chosen, form), side(values, chosen)
    kappa = prior.kappa + of_side.count
    apart = (of_side.mean - prior.location) ** 2
    return _Posterior(
        (prior.kappa * prior.location + of_side.count * of_side.mean) / kappa,
        of_side.mean,
        kappa,
        prior.alpha + of_side.count / 2,
        prior.beta + of_side.within / 2 + prior.kappa * of_side.count * apart / (2 * kappa),
    )


def _log_predictive(x: np.ndarray, posterior: _Posterior, form: str) -> np.ndarray:
    location, sample_mean, kappa, alpha, beta = posterior
    if form == "t":
        return log_student(x, location, np.sqrt(beta * (kappa + 1) / (alpha * kappa)), 2 * alpha)
    variance = beta / np.where(alpha > 1, alpha - 1, 1.0)  # with alpha 1 the mean is infinite, and beta stands in
    return log_normal(x, sample_mean, np.sqrt(variance))
