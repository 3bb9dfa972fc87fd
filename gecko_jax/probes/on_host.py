"""A predict function of NumPy, or of another framework, inside a compiled program."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.probes.records import as_labels
from gecko_jax.types import Array

_NUMBERS = itertools.count()
_NUMBERED: dict[int, Callable[[np.ndarray], Array]] = {}  # those that are being asked


def on_host(predict: Callable[[np.ndarray], Array]) -> Callable[[Array], Array]:
    """A predict function that JAX cannot trace, as a `classify` of `boundary_distance`.

    Args:
      predict: NumPy x [b, ...] -> logits [b, classes] or integer labels [b]. It must not use JAX itself: its own
        program would wait for the one that is asking.

    Returns:
      x [b, ...] -> int32 labels [b], traceable.

    >>> labels = on_host(lambda x: np.stack([x.sum(1), 1 - x.sum(1)], 1))
    >>> labels(jnp.array([[0.2, 0.1], [0.9, 0.3]])).tolist()
    [1, 0]
    """
    return lambda x: _call(lambda rows: _labels(predict, rows), x)


@contextlib.contextmanager
def numbered(predict: Callable[[np.ndarray], Array]) -> Iterator[np.int32]:
    """A number for a predict function of `on_host`, by which `by_number` asks it until the end of the block."""
    number = next(_NUMBERS)
    _NUMBERED[number] = predict
    try:
        yield np.int32(number)
    finally:
        del _NUMBERED[number]


def by_number(number: Array, x: Array) -> Array:
    """int32 labels [b] of x [b, ...] by the predict function of a number: a `classify` with the number as `variables`.

    A compiled program is one for each classify. This one is the same for all predict functions, and so is the program.
    """
    return _call(lambda one, rows: _labels(_NUMBERED[int(one)], rows), x, number)


def _call(answer: Callable[..., np.ndarray], x: Array, *before: Array) -> Array:
    return jax.pure_callback(answer, jax.ShapeDtypeStruct(x.shape[:1], jnp.int32), *before, x)


def _labels(predict: Callable[[np.ndarray], Array], x: Array) -> np.ndarray:
    # A copy: what JAX hands over is read-only, which other frameworks warn of, and write to nevertheless.
    return as_labels(predict(np.array(x)), len(x))[0].astype(np.int32)
