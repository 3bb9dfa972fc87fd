"""What a reader of a signal is, and what it may ask: one record for each, the same for every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.signals import Signal
from gecko_jax.types import Array, Model, Variables

SEED = 0  # of the draws of all readers: the same for every model


def no_model(x: Any) -> Array:
    """Raises ValueError: what a reader asks before there is a model."""
    raise ValueError("a reader asks a model in `read` alone; settings, hindrance and by_default have none to ask.")


class ProbedModel(NamedTuple):
    """A model as a reader may ask it.

    Attributes:
      ask: inputs [b, ...] -> outputs [b, c] of two classes or more, or labels int64 [b]; `no_model` if none is asked.
      reference_inputs: records [k, ...] that set the scale of what is done to a record, the same for every model and
        whichever records are read; None if absent.
      model, variables: the Model and its variables, whose gradients can be read; None for a predict function.
      outputs: what `ask` gives: "logits", "probabilities" or "labels".
      layout: of `layouts.LAYOUTS`; None for the one that the records' shape suggests.
      batch_size: records in one call of `ask`.

    >>> images = np.zeros((2, 8, 8, 1))
    >>> ProbedModel(None).has_images(images), ProbedModel(None, layout="features").has_images(images)
    (True, False)
    >>> ProbedModel(None).network()
    Traceback (most recent call last):
    ...
    ValueError: gradients are read off a gecko_jax Model and its variables; this is a predict function.
    """

    ask: Callable[[Any], Array]
    reference_inputs: Any = None
    model: Model | None = None
    variables: Variables | None = None
    outputs: str = "logits"
    layout: str | None = None
    batch_size: int = 1024

    def has_images(self, x: Array) -> bool:
        """Returns whether records x [n, ...] are images, all of whose values have one unit."""
        return np.ndim(x) == 4 and self.layout != "features"

    def network(self) -> tuple[Model, Variables]:
        """Returns the Model and its variables, or raises ValueError for a predict function.

        >>> ProbedModel(no_model).network()
        Traceback (most recent call last):
        ...
        ValueError: gradients are read off a gecko_jax Model and its variables; this is a predict function.
        """
        if self.model is None or self.variables is None:
            raise ValueError("gradients are read off a gecko_jax Model and its variables; this is a predict function.")
        return self.model, self.variables


def no_settings(probed: ProbedModel, x: Array) -> list[Any]:
    """Returns []: nothing but the records decides the values."""
    return []


def always(probed: ProbedModel) -> bool:
    """Returns True: the signal is read without being asked for by name."""
    return True


def needs_floats(probed: ProbedModel) -> str:
    """Returns why records that are not an array of floats cannot be read, or ""."""
    x = probed.reference_inputs
    floats = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim >= 2
    return "" if floats else "for which records are arrays of floats, and these are not"


class SignalReader(NamedTuple):
    """Reads one signal off a model.

    Attributes:
      signal: what it reads, a Signal with `needs`.
      read: (probed, x [n, ...], class numbers y [n], logits of x [n, c]) -> values [n, *axes].
      settings: (probed, x) -> arrays, numbers and text that decide the values beside the records, for a fingerprint.
      hindrance: probed -> why the signal cannot be read off these records, in words that follow its name; or "".
      by_default: probed -> whether it is read without being asked for by name.
    """

    signal: Signal
    read: Callable[[ProbedModel, np.ndarray, np.ndarray, Array], np.ndarray]
    settings: Callable[[ProbedModel, np.ndarray], list[Any]] = no_settings
    hindrance: Callable[[ProbedModel], str] = needs_floats
    by_default: Callable[[ProbedModel], bool] = always
