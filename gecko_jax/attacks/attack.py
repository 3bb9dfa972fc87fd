"""What an attack is: a named pure function of one signal, checked on the way in and on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.signals import PROBED, SIGNALS, axes_of
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
    """

    name: str
    signal: str
    score: Callable[[Signals], Array]
    shadows: int = 0
    per_class: bool = False

    def __post_init__(self):
        checks.one_of(f"signal of attack {self.name!r}", self.signal, (*SIGNALS, *PROBED))
        checks.at_least(f"shadows of attack {self.name!r}", self.shadows, 0)

    def __call__(self, signals: Signals | Sequence[Signals]) -> np.ndarray:
        """Scores [n] float64 of the target's records.

        Args:
          signals: this attack's signal: values [m, n] and member [m, n] of m shadows, target [n]; a signal of several
            numbers a record has further axes in values and target. Of several queries for each record (augmented
            copies), a sequence of them: the score is then the mean over queries.

        Raises:
          ValueError: wrong shapes, NaN signals, fewer shadows than needed, or scores that are NaN or misshapen.
        """
        if not isinstance(signals, Signals):
            return np.mean([self(query) for query in checks.not_empty("signals", list(signals))], axis=0)
        target = _no_nan("signals.target", np.asarray(signals.target, np.float64))
        checks.shape("signals.target", target, (None,) * (1 + axes_of(self.signal)))
        values = _no_nan("signals.values", np.asarray(signals.values, np.float64))
        checks.shape("signals.values", values, (None, *target.shape))
        member = np.asarray(signals.member)
        checks.shape("signals.member", member, values.shape[:2])
        if member.dtype != bool:
            raise ValueError(f"signals.member has dtype {member.dtype}; expected bool, one for each shadow and record.")
        if len(values) < self.shadows:
            raise ValueError(
                f"attack {self.name!r} needs at least {self.shadows} shadow models and has {len(values)}; "
                "train more, or choose an attack that needs none."
            )
        scores = np.array(self.score(Signals(values, member, target)), np.float64)  # a copy, never the signal itself
        return _no_nan(f"scores of attack {self.name!r}", checks.shape("scores", scores, target.shape[:1]))


def _no_nan(name: str, array: np.ndarray) -> np.ndarray:
    """Infinities pass (the loss of an impossible label is one); a NaN ranks nowhere."""
    if np.isnan(array).any():
        raise ValueError(f"{name} holds {int(np.isnan(array).sum())} NaN of {array.size} entries.")
    return array
