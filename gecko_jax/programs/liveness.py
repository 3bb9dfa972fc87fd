"""Which values of a program are needed, and what those that live at once take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gecko_jax.programs.flatten import Constant, Step


class Lifetime(NamedTuple):
    """An array in memory: its bytes, the step that writes it, and the last step that reads it."""

    bytes: int
    written: int
    read: int


def needed(steps: Sequence[Step], results: Iterable[int | Constant]) -> frozenset[int]:
    """Numbers of the values that some result depends on, the results among them."""
    live = {value for value in results if not isinstance(value, Constant)}
    for step in reversed(steps):
        if not live.isdisjoint(step.outputs):
            live.update(value for value in step.inputs if not isinstance(value, Constant))
    return frozenset(live)


def peak_bytes(lifetimes: Sequence[Lifetime]) -> int:
    """max over steps t of the bytes of all arrays with written <= t <= read.

    >>> peak_bytes([Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(2, 2, 2)])
    12
    """
    steps = {each.written for each in lifetimes}
    return max((sum(t.bytes for t in lifetimes if t.written <= step <= t.read) for step in steps), default=0)
