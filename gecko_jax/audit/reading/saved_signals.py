"""Saved values of signals, checked: name of a signal, or a Signal -> values of m models on n records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.signals import SIGNALS, Signal
from gecko_jax.types import Array

Values = Mapping[str, Array] | Mapping[str | Signal, Array]
ROUNDING = 1e-4  # by which a saved value may lie beyond its signal's bounds
CHANCE = 1e-6  # of a warning that a signal points the other way, if it says nothing
OWN = 'a Signal of your own as its key: {gecko_jax.signals.Signal("name", larger="members"): values}'


def saved_signals(
    name: str,
    values: Values,
    leading: tuple[int | None, ...],
    like: Readings | None = None,
) -> Readings:
    """Returns readings of values that a caller saved.

    Args:
      name: of the argument, for messages.
      values: name of a listed signal, or a Signal -> [*leading, *axes of the signal].
      leading: the axes before the signal's own, None for one whose length the first signal decides: (m, n).
      like: readings that must be of the same signals, or None.

    Raises:
      ValueError: no value, an unknown name, shapes that differ, NaN, or values beyond the bounds of their signal.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is a {type(values).__name__}; expected a dict, such as {{'loss': losses}}.")
    checks.not_empty(name, list(values))
    arrays, own = {}, []
    for key, array in values.items():
        signal = _signal(name, key)
        if signal.name in arrays:
            raise ValueError(f"{name} holds signal {signal.name!r} twice; each signal must stand once.")
        arrays[signal.name] = _checked(f"{name}[{signal.name!r}]", signal, array, leading)
        leading = arrays[signal.name].shape[: len(leading)]
        own += [signal] if signal.name not in SIGNALS else []
    if like is not None and set(arrays) != set(like.values):
        raise ValueError(
            f"{name} holds the signals {sorted(arrays)} and values {sorted(like.values)}; expected the same of both."
        )
    return Readings(None, (), arrays, tuple(own))


def pointing_away(readings: Readings, member: np.ndarray) -> list[str]:
    """Returns warnings about signals by which members look like non-members.

    Args:
      readings: saved values [m, n, ...].
      member: [m, n] bool.
    """
    warnings = []
    for name, values in readings.values.items():
        signal = {one.name: one for one in readings.own}.get(name) or SIGNALS[name]
        if signal.axes or signal.larger == "neither" or (~member).sum(1).min() < 2 or member.sum(1).min() < 2:
            continue
        sign = 1 if signal.larger == "members" else -1
        aucs = [
            metrics.auc_interval(sign * row, inside, 1 - CHANCE) for row, inside in zip(values, member, strict=True)
        ]
        if sum(auc.high is not None and auc.high < 0.5 for auc in aucs) * 2 > len(aucs):
            mean = np.mean([auc.value for auc in aucs])
            warnings.append(
                f"By {name}, members look like non-members (mean AUC {mean:.3f}): {name} is taken to be larger for "
                f"{signal.larger}. If its sign is the other way round, negate it; if member marks the non-members, "
                "pass ~member."
            )
    return warnings


def check_population(readings: Readings, population: Readings, leading: int) -> None:
    """Raises ValueError if the population's values are those of audited records.

    A record is known by its values under all models, in all signals, if these tell nearly all audited records apart.

    Args:
      readings: saved values [m, n, ...] or [n, ...].
      population: values of the same signals [m, z, ...] or [z, ...].
      leading: number of axes up to that of the records.
    """

    def columns(of: Readings) -> list[bytes]:
        parts = [np.moveaxis(of.values[name], leading - 1, 0) for name in sorted(readings.values)]
        return [b"".join(rows) for rows in zip(*([row.tobytes() for row in part] for part in parts), strict=True)]

    audited, others = columns(readings), columns(population)
    known = set(audited)
    shared = np.array([one in known for one in others], bool)
    if len(known) >= 0.99 * len(audited) and shared.sum() > max(1, 0.1 * len(others)):
        raise ValueError(
            f"{int(shared.sum())} of the population's {len(others)} records have the values of an audited record, the "
            f"first population[{int(shared.argmax())}]; a population is of other records, that no model was trained on."
        )


def _signal(name: str, key: str | Signal) -> Signal:
    """Returns the signal that a key names."""
    if isinstance(key, Signal):
        listed = SIGNALS.get(key.name)
        if listed is not None and (listed.larger, listed.axes) != (key.larger, key.axes):
            raise ValueError(
                f"{name} has a Signal of the name {key.name!r}, which is a listed signal with larger={listed.larger!r} "
                f"and axes {listed.axes}; give yours another name."
            )
        if listed is not None or key.axes or key.larger == "neither" or key.stands_for:
            return listed or key
        return dataclasses.replace(key, stands_for=("loss", "soft_loss", "phi"))  # what listed attacks read
    if key not in SIGNALS:
        try:
            checks.lookup(f"signal of {name}", key, SIGNALS)
        except ValueError as error:
            raise ValueError(f"{error} For another quantity, pass {OWN}.") from None
    return SIGNALS[key]


def _checked(name: str, signal: Signal, array: Array, leading: tuple[int | None, ...]) -> np.ndarray:
    array = np.asarray(checks.unmasked(name, array))
    if array.dtype.kind == "V" and "float" in array.dtype.name:  # bfloat16
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; expected real numbers.")
    array = array.astype(np.float64)
    expected = (*leading, *[None] * len(signal.axes))
    if array.ndim != len(expected) or any(e not in (None, s) for e, s in zip(expected, array.shape, strict=True)):
        axes = ("models", "records")[-len(leading) :] + signal.axes
        shown = ", ".join(axis if size is None else f"{size}" for axis, size in zip(axes, expected, strict=True))
        raise ValueError(f"{name} has shape {array.shape}; expected ({shown}), that is ({', '.join(axes)}).")
    if np.isnan(array).any():
        raise ValueError(
            f"{name} holds {int(np.isnan(array).sum())} NaN of {array.size} values. A NaN cannot be ranked: leave out "
            "the records or the models that have one."
        )
    low, high = signal.bounds
    if array.size and (array.min() < low - ROUNDING or array.max() > high + ROUNDING):
        negated = " If these are negated values, change the sign." if -array.max() >= low - ROUNDING else ""
        raise ValueError(
            f"{name} runs from {array.min():.4g} to {array.max():.4g}; {signal.name} lies in {low:g}..{high:g}."
            f"{negated} For another quantity, pass {OWN}."
        )
    return array
