"""BASE2, BASE3, BASE4: normal log-likelihood ratios between RMIA and LiRA, by the parameters estimated of a record."""

from __future__ import annotations

import functools

import numpy as np

from gecko_jax import checks, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.densities import log_normal
from gecko_jax.attacks.direction import check_number, name_on, pointing
from gecko_jax.attacks.moments import MIN_VARIANCE_SHARE, Side, bounded, check_both_sides, side
from gecko_jax.signals import Signal
from gecko_jax.types import Signals

PARAMETERS = (2, 3, 4)
ROUNDING = 1e-9  # of all values' standard deviation


def base_gaussian(parameters: int, online: bool = True, signal: Signal = signals.phi) -> Attack:
    """Scores a normal log-likelihood ratio with 2, 3 or 4 parameters estimated of each record.

      1   `base`: one mean chance of all models; RMIA ranks alike
      2   (x - mu) / v                                        mu, v of all models (offline: of OUT models)
      3   (mu_in - mu_out) / v (x - (mu_in + mu_out) / 2)     v = (c_in v_in + c_out v_out) / (c_in + c_out)
      4   log N(x | mu_in, v_in) - log N(x | mu_out, v_out)   LiRA with each record's own variance

    x is the target's signal, c a side's number of models, v their variance (divided by the count, as it is published).
    A side of one model takes the variance within a record that all records show; one without a model takes the mean and
    variance of all values of that side.

    Args:
      parameters: 2, 3 or 4.
      online: whether models that had the record are read; 3 and 4 have no other form.
      signal: one number a record that points one way; negated if it is smaller for members.

    Returns:
      An Attack. Calling it raises a ValueError if the shadows show nothing of a side that it reads.

    Raises:
      ValueError: another number of parameters, an offline form of 3 or 4, or another signal.

    Source: Braennvall, "Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA" (2026), arXiv
    2603.11799, whose ladder this is. The formulae are those of its public demonstration code.

    >>> shadows = np.array([[5.0, 1.0], [3.0, 2.0], [1.0, 5.0], [2.0, 4.0]])
    >>> read = Signals(shadows, shadows >= 3, np.array([4.0, 3.0]))
    >>> base_gaussian(3)(read).round(6).tolist()  # means 4 and 1.5, 1.5 and 4.5; variances (1 + 0.25) / 2, 0.25
    [5.0, 0.0]
    """
    checks.one_of("parameters", parameters, PARAMETERS)
    if not online and parameters != 2:
        raise ValueError(f"base{parameters} reads the shadows' members and has no offline form; use 2 parameters.")
    check_number(signal)
    name = name_on(f"base{parameters}" + ("" if online else "_offline"), signal, signals.phi)

    def score(read: Signals) -> np.ndarray:
        if parameters > 2 or not online:
            check_both_sides(name, read.member, inside=parameters > 2)
        read = pointing(read, signal, "members")
        values, target = bounded(read)
        if parameters == 2:
            every = side(values, np.ones_like(read.member) if online else ~read.member)
            apart = target - every.mean
            # If models agree to the last bit, v is next to nothing, and what rounding leaves of x - mu is noise.
            return np.where(np.abs(apart) <= ROUNDING * np.sqrt(every.total), 0.0, apart) / _variance(every)
        inside, outside = side(values, read.member), side(values, ~read.member)
        v_in, v_out = _variance(inside), _variance(outside)
        if parameters == 3:
            v = (inside.count * v_in + outside.count * v_out) / len(values)
            return (inside.mean - outside.mean) / v * (target - (inside.mean + outside.mean) / 2)
        parts = (log_normal(target, one.mean, np.sqrt(v)) for one, v in ((inside, v_in), (outside, v_out)))
        return next(parts) - next(parts)

    on = functools.partial(base_gaussian, parameters, online)
    return Attack(name, signal, score, shadows=1 if parameters == 2 else 2, on=on)


def _variance(moments: Side) -> np.ndarray:
    """Returns each record's variance [n], above 0."""
    variance = np.where(moments.count > 1, moments.within / np.maximum(moments.count, 1), moments.pooled)
    variance = np.where(moments.count > 0, variance, moments.total)
    return np.maximum(variance, MIN_VARIANCE_SHARE * moments.total + np.finfo(np.float64).tiny)
