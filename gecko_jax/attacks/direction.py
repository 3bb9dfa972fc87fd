"""Which way a signal points, and what attacks that read any signal of one number ask of it."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals import Signal, check_signal
from gecko_jax.types import Signals


def pointing(signals: Signals, signal: Signal, larger: str) -> Signals:
    """Returns the signals, negated if that is what makes them larger for `larger`, "members" or "nonmembers".

    >>> read = Signals(np.zeros((0, 1)), np.zeros((0, 1), bool), np.array([4.0]))
    >>> pointing(read, Signal("mine", larger="nonmembers"), "members").target.tolist()
    [-4.0]
    """
    if signal.larger == larger:
        return signals
    values, member, target, population = signals
    return Signals(-values, member, -target, population and (-population[0], -population[1]))


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


def in_nats(read: Signals, signal: Signal) -> Signals:
    """Returns the signals as negative log-likelihoods, up to a constant: squared errors over twice their variance.

    The variance is the maximum-likelihood estimate of a normal distribution: the mean squared error of the shadows on
    records that they were not trained on. Attacks therefore do not depend on the unit of a regression's predictions.

    >>> read = Signals(np.array([[8.0, 2.0]]), np.array([[False, True]]), np.array([4.0, 8.0]))
    >>> in_nats(read, Signal("error", larger="nonmembers", outputs="numbers")).target.tolist()
    [0.25, 0.5]
    """
    if signal.outputs != "numbers":
        return read
    unseen = read.values[~read.member] if not read.member.all() else read.values
    unseen = unseen[np.isfinite(unseen)]
    variance = max(float(unseen.mean()), np.finfo(np.float64).tiny) if unseen.size else 1.0
    values, member, target, population = read
    twice = 2 * variance
    unseen = population and (population[0] / twice, population[1] / twice)
    return Signals(values / twice, member, target / twice, unseen)


def name_on(name: str, signal: Signal, usual: Signal) -> str:
    """Returns an attack's name, with the signal's behind it unless that is the usual one.

    >>> name_on("rmia", Signal("loss"), Signal("soft_loss"))
    'rmia_loss'
    """
    return name if signal == usual else f"{name}_{signal.name}"
