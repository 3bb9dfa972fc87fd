"""What an attack is: a named pure function of one signal, checked on the way in and on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.signals import NEEDS, PROBED, SIGNALS, axes_of
from gecko_jax.types import Array, Signals


@dataclass(frozen=True)
class Attack:
    """A membership-inference attack. Calling it gives scores [n], larger = more likely a member.

    Attributes:
      name: what a report calls it.
      signal: the signal it reads, a key of `attacks.SIGNALS`, or of `attacks.PROBED`.
      score: Signals -> scores [n]. It may read who was in which shadow, never who is in the target.
      shadows: the fewest shadow models it works with.
      per_class: whether its threshold is to be chosen for each class apart.
      slow: whether one call on 1,000 records and 8 shadows takes a tenth of a second or more (it trains a network, or
        tries many settings), or its signal does. An audit calls it for every target and stand-in, and so only if asked.
    """

    name: str
    signal: str
    score: Callable[[Signals], Array]
    shadows: int = 0
    per_class: bool = False
    slow: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be there beside a model's outputs and labels on the records; () for a plain threshold attack.

        "shadows" (`shadows` says how many), what its signal takes ("queries" for answers to other inputs, "gradients"
        for a white box, "records"), and "time" if it is slow.
        """
        signal = NEEDS.get(self.signal)
        return (*["shadows"] * bool(self.shadows), *[signal] * bool(signal), *["time"] * self.slow)

    def __post_init__(self):
        checks.one_of(f"signal of attack {self.name!r}", self.signal, (*SIGNALS, *PROBED))
        checks.at_least(f"shadows of attack {self.name!r}", self.shadows, 0)

    def __call__(self, signals: Signals | Sequence[Signals]) -> np.ndarray:
        """Scores [n] float64 of the target's records.

        Args:
          signals: this attack's signal: values [m, n] and member [m, n] of m shadows, target [n]; a signal of several
            numbers a record has further axes in values and target. Of several queries for each record (augmented
            copies), a sequence of them, of the same records in one order: the score is then the mean over queries.

        Raises:
          ValueError: wrong shapes, NaN signals, fewer shadows than needed, queries of unequal length, or
            scores that are NaN or misshapen.
        """
        if not isinstance(signals, Signals):
            return self._mean(checks.not_empty("signals", list(signals)))
        values, member, target = checked(signals, self.signal)
        if len(values) < self.shadows:
            raise ValueError(
                f"attack {self.name!r} needs at least {self.shadows} shadow models and has {len(values)}; "
                "train more, or choose an attack that needs none."
            )
        if not len(target):
            return np.zeros(0)  # of no record there are no moments and no ranks
        scores = np.array(self.score(Signals(values, member, target)), np.float64)  # a copy, never the signal itself
        return _no_nan(f"scores of attack {self.name!r}", checks.shape("scores", scores, target.shape[:1]))

    def _mean(self, queries: list[Signals]) -> np.ndarray:
        """Over queries of the same records.

        None is standardised. An attack's scores have one unit whatever is asked (log odds, nats, a share), so that
        their mean has a meaning: of log ratios it is, but for a factor, that of independent queries together. Divided
        by its spread, a query that tells more would weigh no more, and a score would hang on who else is audited.
        """
        scores = [self(query) for query in queries]
        for i, one in enumerate(scores):
            checks.shape(f"signals[{i}].target", one, scores[0].shape)
        with np.errstate(invalid="ignore"):  # inf - inf, which is refused
            mean = np.mean(scores, axis=0)
        return _no_nan(f"mean scores over queries of attack {self.name!r}", mean)


def checked(signals: Signals, signal: str, name: str = "signals") -> Signals:
    """`signals` as float64 and bool arrays, of the shapes that `signal` has, without a NaN; else a ValueError."""
    target = _no_nan(f"{name}.target", np.asarray(signals.target, np.float64))
    checks.shape(f"{name}.target", target, (None,) * (1 + axes_of(signal)))
    values = _no_nan(f"{name}.values", np.asarray(signals.values, np.float64))
    checks.shape(f"{name}.values", values, (None, *target.shape))
    member = np.asarray(signals.member)
    checks.shape(f"{name}.member", member, values.shape[:2])
    if member.dtype != bool:
        raise ValueError(f"{name}.member has dtype {member.dtype}; expected bool, one for each shadow and record.")
    return Signals(values, member, target)


def checked_population(population: Signals, signal: str) -> Signals:
    """`checked`, and that it holds a record and none that a shadow was trained on."""
    checks.not_empty("population.target", population.target)
    population = checked(population, signal, "population")
    if population.member.any():
        raise ValueError(
            f"population.member marks {int(population.member.any(0).sum())} of {len(population.target)} records as "
            "some shadow's members; a population is of records that neither the target nor a shadow was trained on."
        )
    return population


def _no_nan(name: str, array: np.ndarray) -> np.ndarray:
    """Infinities pass (the loss of an impossible label is one); a NaN ranks nowhere."""
    if np.isnan(array).any():
        raise ValueError(f"{name} holds {int(np.isnan(array).sum())} NaN of {array.size} entries.")
    return array
