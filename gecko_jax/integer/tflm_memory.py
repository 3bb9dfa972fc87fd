"""Memory as TensorFlow Lite for Microcontrollers (TFLM) plans it, and a plan of one's own in the form that it obeys.

TFLM keeps all arrays of activations in the head of its arena. By default it places them by size, the largest first; a
model whose metadata hold an "OfflineMemoryAllocation" gets exactly the offsets that stand there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gecko_jax import checks
from gecko_jax.integer.placement import first_fit, meeting, round_up
from gecko_jax.programs import Lifetime

OFFLINE_PLAN_NAME = "OfflineMemoryAllocation"  # of the metadata entry whose buffer holds the bytes
ALIGNMENT = 16  # bytes; of every array of TFLM, and of its arena
FORMAT_VERSION = 1
MAX_OFFSET = 2**31 - 1


def as_tflm(lifetimes: Sequence[Lifetime]) -> list[Lifetime]:
    """Returns arrays of the sizes that TFLM gives them: whole multiples of 16 bytes, at multiples of 16.

    Args:
      lifetimes: of all arrays.

    >>> as_tflm([Lifetime(12, 0, 1)])
    [Lifetime(bytes=16, written=0, read=1, alignment=16)]
    """
    return [t._replace(bytes=round_up(t.bytes, ALIGNMENT), alignment=ALIGNMENT) for t in lifetimes]


def tflm_greedy(lifetimes: Sequence[Lifetime]) -> list[int]:
    """Places arrays as TFLM's GreedyMemoryPlanner does: the largest first, each as low as it fits.

    Of arrays of one size the later in the list comes first. The list is of the tensors in the model's order; TFLM adds
    scratch buffers of its kernels behind them.

    Args:
      lifetimes: of all arrays; `as_tflm(lifetimes)` for the sizes that TFLM takes.

    Returns:
      The offset of each array in bytes.

    Source: tflite-micro, tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.

    >>> tflm_greedy([Lifetime(10, 0, 1), Lifetime(20, 1, 2), Lifetime(50, 0, 1)])
    [70, 50, 0]
    """
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].bytes, -i))
    return first_fit(lifetimes, order, meeting(lifetimes))


def offline_plan(offsets: Sequence[int | None], subgraph: int = 0) -> bytes:
    """Encodes a plan as the buffer of TFLM's metadata entry "OfflineMemoryAllocation".

    Little-endian 32-bit integers: the version 1, the subgraph, the number of tensors, and the offset of each.

    Args:
      offsets: of each tensor of the subgraph in the model's order, in bytes from the start of the arena's head: of
        constants, too, which have None. TFLM places a tensor with None itself, if it must.
      subgraph: number of the subgraph.

    Returns:
      4 * (3 + tensors) bytes.

    Raises:
      ValueError: an offset that is negative, not a multiple of 16, or beyond 32 bits; no tensor.

    Source: tflite-micro, tensorflow/lite/micro/docs/memory_management.md, "Offline planned tensor allocations".

    >>> struct.unpack("<6i", offline_plan([0, None, 64]))
    (1, 0, 3, 0, -1, 64)
    """
    checks.not_empty("offsets", offsets)
    header = (FORMAT_VERSION, checks.integer("subgraph", subgraph, 0), len(offsets))
    places = [-1 if offset is None else _place(i, offset) for i, offset in enumerate(offsets)]
    return struct.pack(f"<{len(header) + len(places)}i", *header, *places)


def _place(i: int, offset: int) -> int:
    if checks.integer(f"offsets[{i}]", offset, 0) % ALIGNMENT or offset > MAX_OFFSET:
        raise ValueError(
            f"offsets[{i}]={offset} must be a multiple of {ALIGNMENT} of at most {MAX_OFFSET}, as TFLM aligns its "
            "arrays. Plan the arena of as_tflm(lifetimes)."
        )
    return offset
