"""The device that computes: whether it is an accelerator, and how much of its memory one batch may take.

The values of a batch may take half of the memory that a process has on the device (`bytes_limit` of the device's
`memory_stats`), divided among the models that a program trains side by side. The other half is for variables, optimizer
states, data and the compiler's own needs. Only if less than that half is free is it halved until it fits.

What is free changes from run to run, the limit does not. So a run and its repetition on an equal device compute in the
same parts, and to the same bits, unless memory is short; `privacy` warns then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax

from gecko_jax import checks

_MODELS: ContextVar[int] = ContextVar("models side by side", default=1)
_AS_ONE: ContextVar[bool] = ContextVar("as one process", default=False)


class Room(NamedTuple):
    """The memory that one batch of one model may take.

    Attributes:
      usual: bytes; the same in every run on an equal device.
      free: bytes, at most `usual`: that much is free now.
    """

    usual: int
    free: int


def is_accelerator() -> bool:
    """Tells whether programs run on a GPU or TPU by default, not on the host's processor.

    >>> is_accelerator()
    False
    """
    return jax.default_backend() != "cpu"


def batch_room(device: Any = None) -> Room | None:
    """Computes how many bytes the values of a batch of one model may take on a device.

    Args:
      device: the device; the first local one if None.

    Returns:
      A Room; None if the device does not report its memory, as a CPU.

    >>> class Card:
    ...     def memory_stats(self):
    ...         return {"bytes_limit": 80_000, "bytes_in_use": 50_000}
    >>> batch_room(Card())
    Room(usual=40000, free=20000)
    """
    device = jax.local_devices()[0] if device is None else device
    reported = device.memory_stats() or {}
    limit, in_use = reported.get("bytes_limit"), reported.get("bytes_in_use", 0)
    if not limit:
        return None
    usual = room = limit // 2
    while room > max(limit - in_use, 1):
        room //= 2
    models = _MODELS.get()
    return Room(max(usual // models, 1), max(room // models, 1))


@contextlib.contextmanager
def side_by_side(models: int) -> Iterator[None]:
    """Divides the device's memory among several models, in whatever is traced within the block.

    Args:
      models: how many models one device trains in one program.

    Raises:
      ValueError: fewer than one model.

    >>> class Card:
    ...     def memory_stats(self):
    ...         return {"bytes_limit": 80_000}
    >>> with side_by_side(8):
    ...     batch_room(Card()).usual
    5000
    """
    token = _MODELS.set(checks.integer("models", models, 1))
    try:
        yield
    finally:
        _MODELS.reset(token)


def rows_over_processes() -> bool:
    """Tells whether the rows of a batch may lie on the devices of several processes.

    >>> rows_over_processes()
    False
    """
    return jax.process_count() > 1 and not _AS_ONE.get()


@contextlib.contextmanager
def as_one_process() -> Iterator[None]:
    """Traces whatever the block traces as a single process would, because a run is the same on any number of them.

    >>> with as_one_process():
    ...     rows_over_processes()
    False
    """
    token = _AS_ONE.set(True)
    try:
        yield
    finally:
        _AS_ONE.reset(token)
