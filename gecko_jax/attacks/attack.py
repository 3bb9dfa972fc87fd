"""What an attack is: a named pure function of one signal, checked on the way in and on the way out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gecko_jax import checks
from gecko_jax.signals import Signal, check_signal
from gecko_jax.types import Array, Signals


@dataclass(frozen=True)
class Attack:
    """A membership-inference attack. Calling it gives scores [n]; larger means more likely a member, always.

    Attributes:
      name: what a report calls it.
      signal: the signal it reads (`gecko_jax.signals`).
      score: Signals -> scores [n]. It may read who was in which shadow, never who is in the target.
      shadows: the smallest number of shadow models it works with.
      per_class: whether its threshold is chosen for each class apart.
      slow: whether one call on 1,000 records and 8 shadows takes a tenth of a second or more (it trains a network, or
        tries many settings), or its signal does. An audit calls it for every target and stand-in, so only if asked.
      population: whether it needs `Signals.population`.
      population_suffices: whether such a population replaces its shadows: see `with_population`.
      on: another signal -> the same attack on it; None if it reads no other.
      told_threshold: whether its attacker is told the mean score of the target's own members and takes that for the
        threshold, in place of one that an audit chooses.

    >>> from gecko_jax import attacks
    >>> attacks.loss().needs, attacks.population_rank().needs, attacks.population_rank().with_population().needs
    ((), ('shadows',), ('population',))
    """

    name: str
    signal: Signal
    score: Callable[[Signals], Array]
    shadows: int = 0
    per_class: bool = False
    slow: bool = False
    population: bool = False
    population_suffices: bool = False
    on: Callable[[Signal], Attack] | None = None
    told_threshold: bool = False

    def __post_init__(self):
        check_signal(f"signal of attack {self.name!r}", self.signal)
        checks.at_least(f"shadows of attack {self.name!r}", self.shadows, 0)

    @property
    def needs(self) -> tuple[str, ...]:
        """Returns what the attack needs besides a model's outputs and labels; () for a plain threshold attack.

        "shadows" (`shadows` says how many), "population", what its signal needs ("queries" for answers to other inputs,
        "gradients" for a white box, "records"), and "time" if it is slow.
        """
        models = ["shadows"] * bool(self.shadows) + ["population"] * self.population
        return (*models, *self.signal.needs, *["time"] * self.slow)

    def with_population(self) -> Attack:
        """Returns the attack as it runs with `Signals.population`: without shadows, if that suffices."""
        if not self.population_suffices:
            return self
        return dataclasses.replace(self, shadows=0, slow=False, population=True)

    def __call__(self, signals: Signals | Sequence[Signals]) -> np.ndarray:
        """Returns scores [n] float64 of the target's records.

        Args:
          signals: this attack's signal: values [m, n, ...] and member [m, n] of m shadows, target [n, ...], and the
            population, if any. If several queries were made for each record (augmented copies), a sequence of them, of
            the same records in one order: the score is then the mean over queries.

        Raises:
          ValueError: wrong shapes, NaN signals, fewer shadows than needed, a population that is needed and absent,
            queries of unequal length, or scores that are NaN or have another shape.
        """
        if not isinstance(signals, Signals):
            return self._mean(checks.not_empty("signals", list(signals)))
        signals = check_signals(signals, self.signal)
        here = self if signals.population is None else self.with_population()
        if len(signals.values) < here.shadows:
            raise ValueError(
                f"attack {self.name!r} needs at least {here.shadows} shadow models and has {len(signals.values)}; "
                "train more, or choose an attack that needs none."
            )
        if here.population and signals.population is None:
            raise ValueError(
                f"attack {self.name!r} needs signals.population, (values [m, z], target [z]) of records that no model "
                "was trained on; it is None."
            )
        if not len(signals.target):
            return np.zeros(0)  # no record has neither moments nor ranks
        scores = np.array(self.score(signals), np.float64)  # a copy, never the signal itself
        return _no_nan(f"scores of attack {self.name!r}", checks.shape("scores", scores, signals.target.shape[:1]))

    def _mean(self, queries: list[Signals]) -> np.ndarray:
        """Returns the mean score over queries of the same records.

        No query is standardized. An attack's scores have one unit whatever is asked (log odds, nats, a share), so their
        mean has a meaning: of log ratios it is, but for a factor, that of independent queries together. Divided by its
        spread, a query that tells more would weigh no more, and a score would depend on who else is audited.
        """
        scores = [self(query) for query in queries]
        for i, one in enumerate(scores):
            checks.shape(f"signals[{i}].target", one, scores[0].shape)
        with np.errstate(invalid="ignore"):  # inf - inf, which is refused
            mean = np.mean(scores, axis=0)
        return _no_nan(f"mean scores over queries of attack {self.name!r}", mean)


def check_signals(signals: Signals, signal: Signal, name: str = "signals") -> Signals:
    """Returns `signals` as float64 and bool arrays, of the shapes that `signal` has.

    Raises:
      ValueError: wrong shapes or types, NaN, or a population that is empty or of another number of models.
    """
    target = _floats(f"{name}.target", signals.target, (None,) * (1 + len(signal.axes)))
    values = _floats(f"{name}.values", signals.values, (None, *target.shape))
    member = np.asarray(signals.member)
    checks.shape(f"{name}.member", member, values.shape[:2])
    if member.dtype != bool:
        raise ValueError(f"{name}.member has dtype {member.dtype}; expected bool, one for each shadow and record.")
    if signals.population is None:
        return Signals(values, member, target)
    of_shadows, of_target = signals.population
    of_target = _floats(f"{name}.population[1]", of_target, (None, *target.shape[1:]))
    checks.not_empty(f"{name}.population[1]", of_target)
    of_shadows = _floats(f"{name}.population[0]", of_shadows, (None, *of_target.shape))
    if len(of_shadows) != len(values):
        raise ValueError(
            f"{name}.population[0] has {len(of_shadows)} shadows and {name}.values {len(values)}; both are read off "
            "the same models, because records and population are compared."
        )
    return Signals(values, member, target, (of_shadows, of_target))


def _floats(name: str, array: Array, shape: tuple[int | None, ...]) -> np.ndarray:
    return checks.shape(name, _no_nan(name, np.asarray(array, np.float64)), shape)


def _no_nan(name: str, array: np.ndarray) -> np.ndarray:
    """Infinities pass (the loss of an impossible label is one); a NaN is rejected, because it cannot be ranked."""
    if np.isnan(array).any():
        raise ValueError(f"{name} holds {int(np.isnan(array).sum())} NaN of {array.size} entries.")
    return array
