"""RMIA: is the record likelier under the target, against reference models, than records of the population are?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from gecko_jax import checks
from gecko_jax.attacks.attack import Attack, checked_population
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import log_mean_chance
from gecko_jax.types import Signals

GRID = np.arange(11) / 10  # of the offline form's a
USUAL = 0.3  # a where the references leave nothing to choose it on
FAKES = 8  # references that play the target while it is chosen
TIES = ("broken", "counted")


def rmia(
    online: bool = True,
    a: float | None = None,
    population: Signals | None = None,
    ties: str = "broken",
    signal: str = "soft_loss",
) -> Attack:
    """The relative attack: r_x = p(x | target) / p(x), and the share of a population z with r_x >= r_z.

      online:   p(x) = mean of p(x | reference) over all references, with x and without
      offline:  p(x) = ((1 + a) p_out(x) + 1 - a) / 2, p_out the mean over references without x

    The share only grows with r_x, so that the population ranks no two records another way than r_x does: it turns ranks
    into rates of false positives, and ties records that fall between the same two of it. Ties are broken by r_x.

    Args:
      online: whether references that had the record are read.
      a: of the offline form, 0..1; where None, the value whose attack on the references themselves, each a fake target
        in turn, has the best AUC.
      population: records z that neither the target nor any reference was trained on, under the same references.
      ties: "broken" by r_x, or "counted" as the published form has them.
      signal: p is exp(-signal): "soft_loss" (the softmax at temperature 2, as the authors have it) or "loss".

    Returns:
      An Attack. Without a population the score is log r_x.

    Raises:
      ValueError: a outside 0..1, or given online; an unknown `ties` or signal; "counted" without a population; one that
        is empty, misshapen, holds NaN or a reference's member, or, when scoring, has another number of references.

    Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks" (2024), eq. 3 to 5, app. B.
    """
    checks.one_of("ties", ties, TIES)
    checks.one_of("signal", signal, ("soft_loss", "loss"))
    if a is not None:
        if online:
            raise ValueError(f"a={a!r} belongs to the offline form: pass online=False, or leave it out.")
        checks.between("a", a, 0.0, 1.0)
    if ties == "counted" and population is None:
        raise ValueError("ties='counted' needs population=, whose records are what ties: pass one, or leave ties out.")
    given = None if population is None else checked_population(population, signal)

    def score(signals: Signals) -> np.ndarray:
        chosen = (a if a is not None else best_a(signals)) if not online else None
        ratios = _log_ratio(signals, chosen)
        if given is None:
            return ratios
        if len(given.values) != len(signals.values):
            raise ValueError(
                f"population.values has {len(given.values)} references and signals.values {len(signals.values)}; both "
                "are read under the same models: r_z and r_x are compared."
            )
        of_population = np.sort(_log_ratio(given, chosen))
        passed = np.searchsorted(of_population, ratios, "right")
        if ties == "counted":
            return passed / len(of_population)
        # Within a step of the share by r_x: its rank among the target's own records, in 0..1.
        rank = np.unique(ratios, return_inverse=True)[1] / len(ratios)
        return (passed + rank) / (len(of_population) + 1)

    tries = not online and a is None  # eleven values on up to eight references
    return Attack("rmia" if online else "rmia_offline", signal, score, shadows=1, slow=tries)


def _log_ratio(signals: Signals, a: float | None) -> np.ndarray:
    """log r_x [n]; `a` None for the online form."""
    values, target = bounded(signals)
    if a is None:
        return -target - log_mean_chance(values, np.ones_like(signals.member))
    return -target - _offline(log_mean_chance(values, ~signals.member), a)


def _offline(log_p: np.ndarray, a: float | np.ndarray) -> np.ndarray:
    """log(((1 + a) p + 1 - a) / 2), to the last digit of 1 - p where p is near 1."""
    with np.errstate(divide="ignore"):
        small = np.log1p((1 + a) / 2 * np.expm1(np.maximum(log_p, -1.0)))
        return np.where(log_p > -1.0, small, np.logaddexp(np.log((1 + a) / 2) + log_p, np.log((1 - a) / 2)))


def best_a(signals: Signals) -> float:
    """The a of the offline form that attacks references best: the mean AUC over them, each a fake target.

    The first `FAKES` references play it, on those records that some other reference has not seen: where a record's
    others all had it, that alone would tell (of a complementary pair, everything).
    """
    values, _ = bounded(signals)
    aucs = []
    for k in range(min(len(values), FAKES)):
        others = np.arange(len(values)) != k
        kept = ~signals.member[others].all(0)
        inside = signals.member[k][kept]
        if inside.all() or not inside.any():
            continue
        log_p = log_mean_chance(values[others][:, kept], ~signals.member[others][:, kept])
        ranks = stats.rankdata(-values[k][kept][None] - _offline(log_p[None], GRID[:, None]), axis=1)
        pairs = inside.sum() * (~inside).sum()
        aucs.append((ranks[:, inside].sum(1) - inside.sum() * (inside.sum() + 1) / 2) / pairs)
    return float(GRID[int(np.argmax(np.mean(aucs, axis=0)))]) if aucs else USUAL
