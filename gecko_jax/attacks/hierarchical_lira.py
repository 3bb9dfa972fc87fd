"""LiRA under priors that all records share: a record's few models are completed by what other records show."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.densities import log_student
from gecko_jax.attacks.direction import check_number, name_on
from gecko_jax.attacks.lira import PRIOR_HALF_OBSERVATIONS
from gecko_jax.attacks.moments import Side, bounded, check_both_sides, side
from gecko_jax.signals import Signal
from gecko_jax.types import Signals

SHARES = (0.01, 0.99)  # of a side's variance that may be between records; the rest is within a record
MAX_CORRELATION = 0.99  # of a record's two means
MIN_VARIANCE = 1e-18  # of tamed signals, which lie within 2 of 0: models that agree to the last bit


def hierarchical_lira(online: bool = True, signal: Signal = signals.phi) -> Attack:
    """Scores a log ratio of predictive densities, IN over OUT, under an empirical prior on each record's two means.

    Of phi, or of another signal, tamed as x = arctan(signal / s), s the standard deviation of all OUT values (a model
    that is sure of a record may be surer by any amount, which says little):

      OUT: x = u + noise of variance v_out        IN: x = w + noise of variance v_in
      (u, w) of a record: normal, with one mean vector and one covariance matrix for all records

    Means and covariances are estimated by moments over all records. The posterior of (u, w) given a record's models is
    normal; the score is the log ratio of Student t densities around its means, whose noise goes from the pooled to the
    record's own as its models become more, as in `lira(variance="student")`. What a record's OUT models say of u thus
    says something of w, also for a record that no shadow had: hard records have lower means on both sides.

    If no record has two models on a side, as with one shadow, the shadows do not show which part of that side's
    variance lies between records. The covariance of the shadows' signals with the target's shows it: a record's mean
    is all that two models have in common. Nobody needs to know the target's members for that, because their share is
    taken to be the share of IN among the shadows. With one shadow, u and w are taken to be fully correlated.

    Args:
      online: whether a record's own IN models are read; offline w is known by u alone. The prior is the same.
      signal: one number a record that points one way.

    Returns:
      An Attack that works from one shadow on. Calling it raises a ValueError if all shadows had every record, or none
      had any: one side then has no prior.

    Raises:
      ValueError: a signal of several numbers a record.

    Source: ours, an empirical-Bayes form of LiRA (Carlini et al. 2022). BaVarIA (Braennvall 2026) draws each side's
    mean towards that of all records, and knows of no correlation of the two.

    >>> rng = np.random.default_rng(0)
    >>> member, hardness = rng.random((3, 400)) < 0.5, 3 * rng.normal(size=400)
    >>> phi = hardness + 2 * member + 0.5 * rng.normal(size=(3, 400))
    >>> scores = hierarchical_lira()(Signals(phi[1:], member[1:], phi[0]))
    >>> bool(np.mean((scores > 0) == member[0]) > 0.8)
    True
    """
    check_number(signal)
    name = name_on("hierarchical_lira" + ("" if online else "_offline"), signal, signals.phi)

    def score(read: Signals) -> np.ndarray:
        check_both_sides(name, read.member)
        values, target = bounded(read)
        scale = float(values[~read.member].std()) or 1.0
        values, target = np.arctan(values / scale), np.arctan(target / scale)
        inside, outside = side(values, read.member), side(values, ~read.member)
        prior = _prior(inside, outside, target)
        if not online:
            inside = inside._replace(count=np.zeros_like(inside.count), within=np.zeros_like(inside.within))
        w, u = _posterior(prior, inside, outside)
        parts = (
            _log_predictive(target, w, prior.noise_in, inside),
            _log_predictive(target, u, prior.noise_out, outside),
        )
        return parts[0] - parts[1]

    return Attack(name, signal, score, shadows=1, on=functools.partial(hierarchical_lira, online))


class _Prior(NamedTuple):
    """What all records share: means and covariance of (u, w), and the variance within a record on each side."""

    mean_in: float
    mean_out: float
    between_in: float
    between_out: float
    shared: float
    noise_in: float
    noise_out: float


class _Mean(NamedTuple):
    """The posterior of n records' means on one side: where it is, and its variance."""

    value: np.ndarray
    variance: np.ndarray


def _prior(inside: Side, outside: Side, target: np.ndarray) -> _Prior:
    """Returns the prior by moments, completed by the target's signals where the shadows do not show a variance."""
    mean_in, mean_out = (float(np.average(one.mean, weights=one.count)) for one in (inside, outside))
    share = float(inside.count.sum() / (inside.count + outside.count).sum())
    with_in, with_out = _covariance(inside, mean_in, target), _covariance(outside, mean_out, target)
    both = (inside.count > 0) & (outside.count > 0)
    if both.any():
        shared = float(np.mean((inside.mean - mean_in)[both] * (outside.mean - mean_out)[both]))
        between_in = (with_in - (1 - share) * shared) / share
        between_out = (with_out - share * shared) / (1 - share)
    else:  # fully correlated: with_out = s_out t and with_in = s_in t, where t = (1 - share) s_out + share s_in
        with_in, with_out = (max(c, SHARES[0] * one.total) for c, one in ((with_in, inside), (with_out, outside)))
        t = np.sqrt(max((1 - share) * with_out + share * with_in, MIN_VARIANCE))
        between_in, between_out = (with_in / t) ** 2, (with_out / t) ** 2
        shared = float(np.sqrt(between_in * between_out))
    if (inside.count > 1).any():
        between_in = inside.total - inside.pooled
    if (outside.count > 1).any():
        between_out = outside.total - outside.pooled
    between_in, between_out = (
        min(max(between, SHARES[0] * one.total + MIN_VARIANCE), SHARES[1] * one.total + MIN_VARIANCE)
        for between, one in ((between_in, inside), (between_out, outside))
    )
    limit = MAX_CORRELATION * float(np.sqrt(between_in * between_out))
    noise_in, noise_out = max(inside.total - between_in, MIN_VARIANCE), max(outside.total - between_out, MIN_VARIANCE)
    shared = float(np.clip(shared, -limit, limit))
    return _Prior(mean_in, mean_out, between_in, between_out, shared, noise_in, noise_out)


def _covariance(one: Side, mean: float, target: np.ndarray) -> float:
    """Returns the covariance of a side's means with the target's signals over the records that have one."""
    seen = one.count > 0
    return float(np.mean((one.mean - mean)[seen] * (target - target.mean())[seen]))


def _posterior(prior: _Prior, inside: Side, outside: Side) -> tuple[_Mean, _Mean]:
    """Returns the posterior of w and of u, each given both sides' models: normal, by precisions."""
    determinant = prior.between_in * prior.between_out - prior.shared**2
    precision_in = prior.between_out / determinant + inside.count / prior.noise_in
    precision_out = prior.between_in / determinant + outside.count / prior.noise_out
    cross = -prior.shared / determinant
    pull_in = inside.count / prior.noise_in * (inside.mean - prior.mean_in)
    pull_out = outside.count / prior.noise_out * (outside.mean - prior.mean_out)
    d = precision_in * precision_out - cross**2
    w = prior.mean_in + (precision_out * pull_in - cross * pull_out) / d
    u = prior.mean_out + (precision_in * pull_out - cross * pull_in) / d
    return _Mean(w, precision_out / d), _Mean(u, precision_in / d)


def _log_predictive(x: np.ndarray, mean: _Mean, noise: float, one: Side) -> np.ndarray:
    """Returns the log density of a further model's x: a Student t, as wide as the noise and the mean's doubt."""
    freedom = 2 * PRIOR_HALF_OBSERVATIONS + one.count
    record_noise = (2 * PRIOR_HALF_OBSERVATIONS * noise + one.within) / freedom
    return log_student(x, mean.value, np.sqrt(record_noise * (1 + mean.variance / noise)), freedom)
