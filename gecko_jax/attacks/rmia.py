"""RMIA: is the record likelier under the target, against reference models, than records of the population are?"""

from __future__ import annotations

import functools

import numpy as np
from scipy import stats

from gecko_jax import checks, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.combinators import stand_in
from gecko_jax.attacks.direction import check_likelihood, in_nats, name_on
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import log_mean_chance
from gecko_jax.signals import Signal
from gecko_jax.types import Signals

GRID = np.arange(11) / 10  # of the offline form's a
DEFAULT_A = 0.3  # if the references leave nothing to choose it on
MAX_STAND_INS = 8  # references that stand in as the target while a is chosen
TIES = ("broken", "counted")


def rmia(
    online: bool = True,
    a: float | None = None,
    ties: str = "broken",
    signal: Signal = signals.soft_loss,
) -> Attack:
    """Scores r_x = p(x | target) / p(x), and if there is a population z, the share of it with r_x >= r_z.

      online:   p(x) = mean of p(x | reference) over all references, with x and without
      offline:  p(x) = ((1 + a) p_out(x) + 1 - a) / 2, p_out the mean over references without x

    If all references had x, p_out is the mean over these: with one reference drawn by coins, that is half of the x.

    The population is `Signals.population`. The share only grows with r_x, so it ranks no two records another way than
    r_x does: it turns ranks into rates of false positives, and ties records that fall between the same two of the
    population. Ties are broken by r_x.

    Args:
      online: whether references that had the record are read.
      a: of the offline form, 0..1; if None, the value whose attack on the references themselves, each a stand-in for
        the target in turn, has the best AUC.
      ties: "broken" by r_x, or "counted" as the published form has them, which needs a population.
      signal: p is exp(-signal): `signals.soft_loss` (the softmax at temperature 2, as the authors have it),
        `signals.loss`, or another negative log-likelihood of one number a record; `signals.squared_error` becomes that
        of a normal distribution.

    Returns:
      An Attack. Without a population the score is log r_x.

    Raises:
      ValueError: a outside 0..1, or given online; an unknown `ties`; a signal that members do not lower.

    Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks" (2024), eq. 3 to 5, app. B.

    >>> read = Signals(np.array([[1.0], [1.0]]), np.array([[True], [False]]), np.array([0.25]))
    >>> rmia()(read).round(6).tolist()
    [0.75]
    """
    checks.one_of("ties", ties, TIES)
    check_likelihood(signal)
    if a is not None:
        if online:
            raise ValueError(f"a={a!r} belongs to the offline form: pass online=False, or leave it out.")
        checks.in_range("a", a, 0.0, 1.0)

    def score(read: Signals) -> np.ndarray:
        read = in_nats(read, signal)
        chosen = (a if a is not None else best_a(read)) if not online else None
        ratios = _log_ratio(read, chosen)
        if read.population is None:
            return ratios
        values, target = read.population
        others = _log_ratio(Signals(values, np.zeros(values.shape, bool), target), chosen)
        distinct, rank = np.unique(ratios, return_inverse=True)
        passed = np.searchsorted(np.sort(others), distinct, "right")[rank]  # sorted, they are found in half the time
        if ties == "counted":
            return passed / len(others)
        # Within a step of the share by r_x: its rank among the target's own records, in 0..1.
        return (passed + rank / len(ratios)) / (len(others) + 1)

    return Attack(
        name_on("rmia" if online else "rmia_offline", signal, signals.soft_loss),
        signal,
        score,
        shadows=1,
        slow=not online and a is None,  # which tries eleven values on up to eight references
        population=ties == "counted",
        on=functools.partial(rmia, online, a, ties),
    )


def _log_ratio(read: Signals, a: float | None) -> np.ndarray:
    """Returns log r_x [n]; `a` is None for the online form."""
    values, target = bounded(read)
    if a is None:
        return -target - log_mean_chance(values, np.ones_like(read.member))
    return -target - _offline(log_mean_chance(values, ~read.member), a)


def _offline(log_p: np.ndarray, a: float | np.ndarray) -> np.ndarray:
    """Returns log(((1 + a) p + 1 - a) / 2), to the last digit of 1 - p if p is near 1."""
    with np.errstate(divide="ignore"):
        small = np.log1p((1 + a) / 2 * np.expm1(np.maximum(log_p, -1.0)))
        return np.where(log_p > -1.0, small, np.logaddexp(np.log((1 + a) / 2) + log_p, np.log((1 - a) / 2)))


def best_a(read: Signals) -> float:
    """Returns the a of the offline form with the best mean AUC over references, each a stand-in for the target.

    The first `MAX_STAND_INS` references stand in, on those records that some other reference has not seen: if all of a
    record's others had it, that alone would tell (of a complementary pair, everything).
    """
    values, _ = bounded(read)
    aucs = []
    for k in range(min(len(values), MAX_STAND_INS)):
        others, member, target, _ = stand_in(values, read.member, k)
        rows = ~member.all(0)
        inside = read.member[k][rows]
        if inside.all() or not inside.any():
            continue
        log_p = log_mean_chance(others[:, rows], ~member[:, rows])
        ranks = stats.rankdata(-target[rows][None] - _offline(log_p[None], GRID[:, None]), axis=1)
        pairs = inside.sum() * (~inside).sum()
        aucs.append((ranks[:, inside].sum(1) - inside.sum() * (inside.sum() + 1) / 2) / pairs)
    return float(GRID[int(np.argmax(np.mean(aucs, axis=0)))]) if aucs else DEFAULT_A
