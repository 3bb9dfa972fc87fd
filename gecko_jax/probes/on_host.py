"""Predict functions of NumPy, or of another framework, inside a compiled program.

A compiled program belongs to one function. Functions of all models are therefore asked by their number, through one
function that is the same for all (`by_number`): 64 shadow models share one program.
"""

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
_NUMBERED: dict[int, Callable[[np.ndarray], Array]] = {}  # those that are being asked now


def on_host(predict: Callable[[np.ndarray], Array]) -> Callable[[Array], Array]:
    """Returns a predict function that JAX cannot trace as one that it can, a `classify` for `boundary_distance`.

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
    """Gives a predict function a number, by which `by_number` asks it until the end of the block.

    Args:
      predict: inputs [b, ...] -> outputs [b, classes] or labels [b], NumPy arrays.

    >>> with numbered(lambda x: np.stack([x.sum(1), 1 - x.sum(1)], 1)) as number:
    ...     by_number(number, jnp.array([[0.2, 0.1]])).tolist()
    [1]
    """
    number = next(_NUMBERS)
    _NUMBERED[number] = predict
    try:
        yield np.int32(number)
    finally:
        del _NUMBERED[number]


def by_number(number: Array, x: Array) -> Array:
    """Returns int32 labels [b] of x [b, ...] by the predict function of a number: see `numbered`.

    It is a `classify` for `boundary_distance`, with the number as `variables`.

    Args:
      number: of the predict function.
      x: inputs [b, ...].

    >>> with numbered(lambda x: x) as number:  # the inputs are the logits
    ...     by_number(number, jnp.array([[0.2, 0.1], [0.1, 0.2]])).tolist()
    [0, 1]
    """
    return _call(lambda one, rows: _labels(_NUMBERED[int(one)], rows), x, number)


def _call(answer: Callable[..., np.ndarray], x: Array, *before: Array) -> Array:
    return jax.pure_callback(answer, jax.ShapeDtypeStruct(x.shape[:1], jnp.int32), *before, x)


def _labels(predict: Callable[[np.ndarray], Array], x: Array) -> np.ndarray:
    # A copy, because JAX passes a read-only array, which other frameworks warn about, and write to nevertheless.
    return as_labels(predict(np.array(x)), len(x))[0].astype(np.int32)
