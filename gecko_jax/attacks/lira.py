"""LiRA: how much likelier a record's signal is under models that had the record than under models that had not."""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from gecko_jax import checks, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.densities import log_normal, log_student
from gecko_jax.attacks.direction import check_direction, name_on, pointing
from gecko_jax.attacks.moments import MIN_VARIANCE_SHARE, Side, bounded, check_both_sides, side
from gecko_jax.signals import Signal, check_signal
from gecko_jax.types import Signals

VARIANCES = ("global", "example", "student")
PRIOR_HALF_OBSERVATIONS = 4.0  # a0 of the Student t: what the variance of all records counts for


def lira(online: bool = True, variance: str = "global", signal: Signal = signals.phi) -> Attack:
    """Scores how much likelier a record's signal is under models that had it than under models that had not.

    For each record, of the signal phi = log(p_y / (1 - p_y)) under the target and under every shadow model:
      1. split the shadows into those that had the record (IN) and those that had not (OUT);
      2. take the mean mu of phi on each side, over that side's models;
      3. take the variance sigma^2 on each side (of all records together, of this record, or between: `variance`);
      4. online, score log N(phi of the target | mu_in, sigma_in) - log N(phi of the target | mu_out, sigma_out);
      5. offline, score log P(N(mu_out, sigma_out) <= phi of the target): only a phi above OUT's suggests a member;
      6. of several queries or components of a record, take the mean score.

    Args:
      online: whether the shadows' members are read; offline, each record's OUT models alone.
      variance: of a normal distribution, "global", the deviations from each record's own mean pooled over all records,
        or "example", each record's own (pooled if it has one model); or "student", a Student t whose variance goes
        from the pooled to the record's own as its models become more.
      signal: one number a record, or a vector, each component of which is a query of its own. A signal that is smaller
        for members (a loss) is negated.

    Returns:
      An Attack, its name with the signal behind it if that is not phi ("layer_" left out: lira_gradients). Of c models
      on a side, of mean mu and sum of squared deviations S, about the pooled variance v: Student's a = 4 + c / 2,
      b = 4 v + S / 2, 2a degrees of freedom, scale^2 = b (c + 1) / (a c). A record without a model on one side has the
      moments of all records there. Calling it raises a ValueError if all shadows had every record or, online, none.

    Raises:
      ValueError: an unknown variance, a signal of a matrix a record, or, offline, one whose members lie neither above
        nor below.

    Means and sums of squares are those of all of a record's models, with one degree of freedom taken off (ddof=1). The
    published script takes the median, divides by the count (ddof=0), and cuts every record to the smallest number of
    models on its side, so its scores differ from these by a little.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), algorithm 1, sec. VI. The
    Student t is the predictive distribution under a normal-inverse-gamma prior.

    >>> shadows = np.array([[5.0, 1.0], [4.0, 2.0], [1.0, 5.0], [2.0, 4.0]])
    >>> member = shadows > 3
    >>> lira()(Signals(shadows, member, np.array([4.5, 1.5]))).round(6).tolist()
    [9.0, -9.0]
    """
    checks.one_of("variance", variance, VARIANCES)
    if len(check_signal("signal", signal).axes) > 1:
        raise ValueError(
            f"signal {signal.name!r} has the axes {signal.axes} for each record; expected one number, or a vector."
        )
    if not online:
        check_direction(signal)
    parts = ["lira", *["offline"][online:], variance.replace("global", "")]
    name = name_on("_".join(part for part in parts if part), signal, signals.phi).replace("_layer_", "_")

    def of_query(read: Signals) -> np.ndarray:
        values, target = bounded(read)
        out_side = side(values, ~read.member)
        if not online:
            return _log_below(target, out_side, variance)
        in_side = side(values, read.member)
        return _log_density(target, in_side, variance) - _log_density(target, out_side, variance)

    def score(read: Signals) -> np.ndarray:
        check_both_sides(name, read.member, inside=online)
        if signal.larger != "neither":
            read = pointing(read, signal, "members")
        if not signal.axes:
            return of_query(read)
        values, target = np.moveaxis(read.values, -1, 0), np.moveaxis(read.target, -1, 0)
        queries = [Signals(v, read.member, t) for v, t in zip(values, target, strict=True)]
        return np.mean([of_query(query) for query in queries], axis=0)

    return Attack(name, signal, score, shadows=2 if online else 1, on=functools.partial(lira, online, variance))


def _spread(moments: Side, variance: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scale [n], degrees of freedom [n], infinite for a normal distribution)."""
    smallest = MIN_VARIANCE_SHARE * moments.total + np.finfo(np.float64).tiny
    if variance == "student":
        a = PRIOR_HALF_OBSERVATIONS + moments.count / 2
        b = PRIOR_HALF_OBSERVATIONS * moments.pooled + moments.within / 2
        squared = b / a * (1 + 1 / np.maximum(moments.count, 1))
        freedom = 2 * a
    else:
        of_record = moments.within / np.maximum(moments.count - 1, 1)
        squared = np.where((moments.count > 1) & (variance == "example"), of_record, moments.pooled)
        freedom = np.full(len(squared), np.inf)
    squared = np.where(moments.count > 0, squared, moments.total)
    return np.sqrt(np.maximum(squared, smallest)), freedom


def _log_density(x: np.ndarray, moments: Side, variance: str) -> np.ndarray:
    scale, freedom = _spread(moments, variance)
    if variance != "student":
        return log_normal(x, moments.mean, scale)
    return log_student(x, moments.mean, scale, freedom)


def _log_below(x: np.ndarray, moments: Side, variance: str) -> np.ndarray:
    """Returns log of the distribution function, without the rounding of a probability near 0 or 1."""
    scale, freedom = _spread(moments, variance)
    z = (x - moments.mean) / scale
    return special.log_ndtr(z) if variance != "student" else _log_student(z, freedom)


def _log_student(z: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    tail = special.stdtr(freedom, -np.abs(z))
    return np.where(z < 0, np.log(np.maximum(tail, np.finfo(np.float64).tiny)), np.log1p(-tail))
