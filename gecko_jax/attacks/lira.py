"""LiRA: how much likelier a record's signal is under models that had it than under models that had not."""

from __future__ import annotations

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.moments import Side, bounded, side
from gecko_jax.attacks.signals import PROBED, SIGNALS, axes_of
from gecko_jax.types import Signals

VARIANCES = ("global", "example", "student")
LESS = ("entropy", "loss", "modified_entropy", "soft_loss")  # signals that are smaller for a member
EITHER = ("hinge_on_record", "labelled_posteriors", "top_posteriors")  # whose components point no one way
PRIOR = 4.0  # a0 of the Student t: how many half-observations the variance of all records counts for
LEAST = 1e-12  # of all values' variance: models that agree to the last bit are still one draw of many


def lira(online: bool = True, variance: str = "global", signal: str = "phi") -> Attack:
    """The likelihood-ratio attack on phi, the logit-scaled confidence, or on another signal.

      online:   log p(phi | IN) - log p(phi | OUT)
      offline:  log P(OUT's phi <= phi), one-sided: only a signal above OUT's speaks for a member

    Args:
      online: whether the shadows' members are read; offline, each record's OUT models alone.
      variance: of a normal distribution, "global", the deviations from each record's own mean pooled over all records,
        or "example", each record's own (pooled where it has one model); or "student", a Student t whose variance goes
        from the pooled to the record's own as its models become more.
      signal: of `SIGNALS` or `PROBED`: a number a record, or a vector, of which every component is a query of its own,
        and the score their mean. Offline, "below" is above for a signal that is smaller for a member (a loss).

    Returns:
      An Attack, its name with the signal behind it if it is not phi ("layer_" left out: lira_gradients). Of c models
      on a side, of mean mu and sum of squared deviations S, about the pooled variance v: Student's a = 4 + c / 2,
      b = 4 v + S / 2, 2a degrees of freedom, scale^2 = b (c + 1) / (a c). A record without a model on one side has the
      moments of all records there.

    Raises:
      ValueError: an unknown variance or signal, or, offline, one whose members lie neither above nor below.

    Means and sums of squares are those of all of a record's models, with one degree of freedom taken off (ddof=1). The
    published script takes the median, divides by the count (ddof=0), and cuts every record to the smallest number of
    models on its side, so that its scores differ from these by a little.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), algorithm 1, sec. VI. The
    Student t is the predictive distribution under a normal-inverse-gamma prior.

    >>> lira(online=False, variance="student").name
    'lira_offline_student'
    """
    checks.one_of("variance", variance, VARIANCES)
    checks.one_of("signal", signal, [each for each in (*SIGNALS, *PROBED) if axes_of(each) < 2])
    if not online and signal in EITHER:
        raise ValueError(
            f"signal={signal!r} is neither larger nor smaller for a member, and the offline form is one-sided: leave "
            "online=True, or read another signal."
        )
    parts = ["lira", *["offline"][online:], variance.replace("global", ""), signal.removeprefix("layer_")]
    name = "_".join(part for part in parts if part not in ("", "phi"))

    def of_query(signals: Signals) -> np.ndarray:
        values, target = bounded(signals)
        outside = side(values, ~signals.member)
        if not online:
            return _log_below(target, outside, variance)
        inside = side(values, signals.member)
        return _log_density(target, inside, variance) - _log_density(target, outside, variance)

    def score(signals: Signals) -> np.ndarray:
        if signal in LESS:
            signals = signals._replace(values=-signals.values, target=-signals.target)
        if not axes_of(signal):
            return of_query(signals)
        values, target = np.moveaxis(signals.values, -1, 0), np.moveaxis(signals.target, -1, 0)
        queries = [signals._replace(values=v, target=t) for v, t in zip(values, target, strict=True)]
        return np.mean([of_query(query) for query in queries], axis=0)

    return Attack(name, signal, score, shadows=2 if online else 1)


def _spread(found: Side, variance: str) -> tuple[np.ndarray, np.ndarray]:
    """(scale [n], degrees of freedom [n], infinite for a normal distribution)."""
    least = LEAST * found.total + np.finfo(np.float64).tiny
    if variance == "student":
        a = PRIOR + found.count / 2
        b = PRIOR * found.pooled + found.within / 2
        squared = b / a * (1 + 1 / np.maximum(found.count, 1))
        freedom = 2 * a
    else:
        own = found.within / np.maximum(found.count - 1, 1)
        squared = np.where((found.count > 1) & (variance == "example"), own, found.pooled)
        freedom = np.full(len(squared), np.inf)
    squared = np.where(found.count > 0, squared, found.total)
    return np.sqrt(np.maximum(squared, least)), freedom


def _log_density(x: np.ndarray, found: Side, variance: str) -> np.ndarray:
    scale, freedom = _spread(found, variance)
    z = (x - found.mean) / scale
    if variance != "student":
        return -(z**2) / 2 - np.log(scale)
    half = (freedom + 1) / 2
    constant = special.gammaln(half) - special.gammaln(freedom / 2) - np.log(freedom) / 2
    return constant - half * np.log1p(z**2 / freedom) - np.log(scale)


def _log_below(x: np.ndarray, found: Side, variance: str) -> np.ndarray:
    """log of the distribution function, without the rounding of a probability near 0 or 1."""
    scale, freedom = _spread(found, variance)
    z = (x - found.mean) / scale
    return special.log_ndtr(z) if variance != "student" else _log_student(z, freedom)


def _log_student(z: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    tail = special.stdtr(freedom, -np.abs(z))
    return np.where(z < 0, np.log(np.maximum(tail, np.finfo(np.float64).tiny)), np.log1p(-tail))
