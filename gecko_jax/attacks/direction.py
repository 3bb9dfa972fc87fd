"""Which way a signal points, and what attacks that read any signal of one number ask of it."""

from __future__ import annotations

from gecko_jax.signals import Signal, check_signal
from gecko_jax.types import Signals


def pointing(signals: Signals, signal: Signal, larger: str) -> Signals:
    """Returns the signals, negated if that is what makes them larger for `larger`, "members" or "nonmembers"."""
    if signal.larger == larger:
        return signals
    population = signals.population and tuple(-part for part in signals.population)
    return Signals(-signals.values, signals.member, -signals.target, population)


def check_number(signal: Signal) -> Signal:
    """Returns `signal`, or raises ValueError unless it is one number a record that points one way."""
    check_signal("signal", signal)
    if signal.axes:
        raise ValueError(f"signal {signal.name!r} has the axes {signal.axes} for each record; expected one number.")
    return check_direction(signal)


def check_direction(signal: Signal) -> Signal:
    """Returns `signal`, or raises ValueError if it is neither larger nor smaller for members."""
    if signal.larger == "neither":
        raise ValueError(
            f"signal {signal.name!r} is neither larger nor smaller for a member, and this attack is one-sided: read "
            "another signal, or one that attacks online."
        )
    return signal


def check_likelihood(signal: Signal) -> Signal:
    """Returns `signal`, or raises ValueError unless exp(-signal) may be a likelihood: a number that members lower."""
    if check_number(signal).larger != "nonmembers":
        raise ValueError(
            f"signal {signal.name!r} is larger for members; expected a negative log-likelihood, such as "
            "gecko_jax.signals.loss, soft_loss or sequence_loss."
        )
    return signal


def name_on(name: str, signal: Signal, usual: Signal) -> str:
    """Returns an attack's name, with the signal's behind it unless that is the usual one."""
    return name if signal == usual else f"{name}_{signal.name}"
