"""Finds the values that a program's results need, and the memory of those that live at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gecko_jax.programs.flatten import Constant, Step


class Lifetime(NamedTuple):
    """An array in memory, alive in all steps written <= t <= read.

    Attributes:
      bytes: its size.
      written: the step that writes it.
      read: the last step that reads it.
      alignment: bytes of which its address must be a multiple.
    """

    bytes: int
    written: int
    read: int
    alignment: int = 1


def needed(steps: Sequence[Step], results: Iterable[int | Constant]) -> frozenset[int]:
    """Finds the values that some result depends on.

    Args:
      steps: of a program, in order.
      results: numbers of values, or Constants.

    Returns:
      Numbers of values, the results among them.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.programs.flatten import trace
    >>> program, _ = trace(lambda a, b: (jnp.sin(a), jnp.cos(b))[0], 1.0, 2.0)
    >>> sorted(needed(program.steps, program.outputs))  # a and its sine
    [0, 2]
    """
    live = {value for value in results if not isinstance(value, Constant)}
    for step in reversed(steps):
        if not live.isdisjoint(step.outputs):
            live.update(value for value in step.inputs if not isinstance(value, Constant))
    return frozenset(live)


def peak_bytes(lifetimes: Sequence[Lifetime]) -> int:
    """Computes the peak memory: max over steps t of the bytes of all arrays with written <= t <= read.

    Args:
      lifetimes: of all arrays.

    Returns:
      Bytes; 0 without arrays.

    >>> peak_bytes([Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(2, 2, 2)])
    12
    """
    steps = {each.written for each in lifetimes}
    return max((sum(t.bytes for t in lifetimes if t.written <= step <= t.read) for step in steps), default=0)
