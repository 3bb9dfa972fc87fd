"""The arena: one block of memory for all activations of a network, planned before it runs.

  plan_arena(lifetimes)            offsets, the size, and whether any plan could be smaller
  check_arena(lifetimes, offsets)  refuses a plan in which two live arrays overlap

How the offsets are found is in `arena_search.py`; the check knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.integer.arena_search import search
from gecko_jax.integer.placement import block_bytes, liveness_bound
from gecko_jax.programs import Lifetime


class ArenaPlan(NamedTuple):
    """Where each array of a network lies.

    Attributes:
      offsets: of each array from the arena's start, in bytes; the arena itself starts at a multiple of every alignment.
      bytes: size of the arena.
      bound: the liveness bound in bytes, below which no plan can be.
      optimal: whether no plan is smaller: the size is the bound, or all orders of the arrays were tried. If not, it is
        unknown.
    """

    offsets: tuple[int, ...]
    bytes: int
    bound: int
    optimal: bool

    def summary(self) -> str:
        """Returns the size, the bound and what is known of the two in one line.

        >>> plan_arena([Lifetime(4, 0, 1), Lifetime(8, 1, 2)]).summary()
        'arena 12 B (counted), liveness bound 12 B: no plan is smaller'
        """
        known = "no plan is smaller" if self.optimal else "a smaller plan may exist"
        return f"arena {self.bytes:,} B (counted), liveness bound {self.bound:,} B: {known}"


def plan_arena(lifetimes: Sequence[Lifetime], trials: int = 2000) -> ArenaPlan:
    """Plans an arena as small as a search finds it; the same arrays always give the same plan.

    Args:
      lifetimes: size in bytes, first and last step, and alignment of each array. Arrays that share their memory, such
        as the input and the output of an activation in place, are one array.
      trials: orders that the local search tries before it gives up, if the bound is not reached.

    Returns:
      The plan, which `check_arena` has accepted.

    Raises:
      ValueError: a negative size or step, an array read before it is written, an alignment below 1.

    Source: first-fit by size is TFLM's GreedyMemoryPlanner; see `tflm_memory`. The problem: Gergov, "Algorithms for
    compile-time memory optimization", SODA 1999.

    >>> plan_arena([Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(4, 2, 3)])
    ArenaPlan(offsets=(8, 0, 8), bytes=12, bound=12, optimal=True)
    """
    checks.integer("trials", trials, 0)
    lifetimes = [_checked(i, lifetime) for i, lifetime in enumerate(lifetimes)]
    bound = liveness_bound(lifetimes)
    offsets, exhausted = search(lifetimes, bound, trials)
    size = check_arena(lifetimes, offsets)
    return ArenaPlan(tuple(offsets), size, bound, exhausted or size == bound)


def check_arena(lifetimes: Sequence[Lifetime], offsets: Sequence[int]) -> int:
    """Checks that arrays that are alive in the same step do not overlap, and that each starts where it may.

    Args:
      lifetimes: of all arrays.
      offsets: of each array from the arena's start, in bytes.

    Returns:
      The bytes that the arena must have.

    Raises:
      ValueError: two arrays overlap in a step in which both are alive, a negative offset, an offset that is not a
        multiple of the array's alignment, or not one offset for each array.

    >>> check_arena([Lifetime(4, 0, 1), Lifetime(8, 1, 2)], [0, 2])
    Traceback (most recent call last):
    ...
    ValueError: arrays 0 (bytes 0 to 4) and 1 (bytes 2 to 10) overlap while both are alive, in steps 1 to 1.
    """
    lifetimes = [_checked(i, lifetime) for i, lifetime in enumerate(lifetimes)]
    if len(offsets) != len(lifetimes):
        raise ValueError(f"offsets has {len(offsets)} entries; expected one for each of {len(lifetimes)} arrays.")
    offsets = [checks.integer(f"offsets[{i}]", offset, 0) for i, offset in enumerate(offsets)]
    for i, (lifetime, offset) in enumerate(zip(lifetimes, offsets, strict=True)):
        if offset % lifetime.alignment:
            raise ValueError(f"offsets[{i}]={offset} is not a multiple of the array's alignment, {lifetime.alignment}.")
    # By pairs and not by `meeting`, so that a fault there cannot hide itself here.
    for j, b in enumerate(lifetimes):
        for i, a in enumerate(lifetimes[:j]):
            first, last = max(a.written, b.written), min(a.read, b.read)
            low, high = max(offsets[i], offsets[j]), min(offsets[i] + a.bytes, offsets[j] + b.bytes)
            if first <= last and low < high:
                raise ValueError(
                    f"arrays {i} (bytes {offsets[i]} to {offsets[i] + a.bytes}) and {j} (bytes {offsets[j]} to "
                    f"{offsets[j] + b.bytes}) overlap while both are alive, in steps {first} to {last}."
                )
    return block_bytes(lifetimes, offsets)


def _checked(i: int, lifetime: Lifetime) -> Lifetime:
    size, written, read, alignment = lifetime
    written = checks.integer(f"lifetimes[{i}].written", written, 0)
    return Lifetime(
        checks.integer(f"lifetimes[{i}].bytes", size, 0),
        written,
        checks.integer(f"lifetimes[{i}].read", read, written),
        checks.integer(f"lifetimes[{i}].alignment", alignment, 1),
    )
