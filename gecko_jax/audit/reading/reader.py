"""How a model is asked: what was made (variables, or a predict function) -> Readings on records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, surroundings, training
from gecko_jax.audit.reading import probing
from gecko_jax.audit.reading.class_names import class_numbers
from gecko_jax.audit.reading.probing import COPIES, FEATURES, NOISE, SEED, STARTS
from gecko_jax.audit.reading.readings import OF_CLASSES, Available, Readings
from gecko_jax.audit.validity import containers
from gecko_jax.digests import value_digest
from gecko_jax.probes import outputs
from gecko_jax.probes.layouts import LAYOUTS, layout_of
from gecko_jax.signals import SIGNALS, Signal, hinge_on_record, label_robustness
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Model

PROBED = tuple(signal for signal in SIGNALS.values() if signal.needs)
ROWS = 4  # records by whose copies a fingerprint knows queries


class Asker(NamedTuple):
    """Attributes:
    predict: what `audit` was given: (x) or (variables, x) -> outputs, or a Model.
    variables: whether what is made are variables, and not a predict function.
    outputs: "logits", "probabilities" or "labels".
    batch_size: records in one call.
    queries: x -> copies of x, the first x itself; or None.
    like: records [k, ...] that set the scale of what probes do to a record: the same for every model and every x.
    layout: of `layouts.LAYOUTS`, or None: the one that the records' shape speaks for.
    fixed: whether every call has exactly batch_size records.
    classes: names of the classes, by which predicted labels are told; or how many there are; or None.
    """

    predict: Callable[..., Array] | Model
    variables: bool
    outputs: str = "logits"
    batch_size: int = 1024
    queries: Callable[[Any], list[Any]] | None = None
    like: Any = None
    layout: str | None = None
    fixed: bool = False
    classes: list | int | None = None

    def available(self, by_default: bool = False) -> Available:
        """Returns the signals that can be read, or those that are read without being asked for by name.

        By default no inputs but images are moved, because a predictor may know nothing of numbers between its features'
        values (a table, tokens).
        """
        images = np.ndim(self.like) == 4 and containers.is_float(self.like) and self.layout != "features"
        left_out = {label_robustness} if by_default and not images else set()
        can = [one for one in PROBED if isinstance(self.predict, Model) or "gradients" not in one.needs]
        return Available(OF_CLASSES, tuple(one.name for one in can if one not in left_out))

    def hindrance(self, signal: Signal) -> str:
        """Returns why a signal cannot be read off these records and outputs, in words that follow "it", or ""."""
        if self.outputs == "labels" and signal.outputs != "labels":
            return f"reads {signal.name!r}, and predict gives labels alone"
        if {"queries", "gradients"} & set(signal.needs) and not containers.is_float(self.like):
            return f"reads {signal.name!r}, for which records are arrays of floats, and these are not"
        if signal == hinge_on_record and not containers.is_numeric(self.like):
            return f"reads {signal.name!r}, for which records are arrays of numbers, and these are not"
        if signal != label_robustness or self.like.ndim != 4 or self.layout == "features":
            return ""
        layout = self.layout or layout_of(self.like.shape)
        sides = {"channels_last": self.like.shape[1:3], "channels_first": self.like.shape[2:]}.get(layout)
        if sides is None:
            return (
                f"moves images, and x of shape {self.like.shape} does not tell where their channels stand, or whether "
                f"these are images: say layout=, one of {', '.join(LAYOUTS)}"
            )
        return f"moves images by a pixel, and these have {sides[0]} x {sides[1]}" if min(sides) < 2 else ""

    def call(self, made: Any) -> Callable[[Any], Array]:
        """x [b, ...] -> outputs [b, c] of what was made, as predict gives them."""
        if isinstance(self.predict, Model):
            if isinstance(self.like, Mapping):
                return functools.partial(_applied(self.predict), made)
            return lambda x: training.predict(self.predict, made, x)
        predict = functools.partial(self.predict, made) if self.variables else made
        if self.fixed:
            return functools.partial(_in_full_batches, predict, self.batch_size)
        # A copy, since predict may work in place (x *= .5), and the records are read again. A read-only view would save
        # little beside a model's own work, and other frameworks refuse one, or write to it all the same.
        return lambda x: predict(containers.copied(x))

    def answers(self, made: Any) -> Callable[[Any], Array]:
        """x [b, ...] -> what probes read: outputs [b, c] of two classes or more, or labels int64 [b]."""
        call = self.call(made)

        def ask(x):
            result = _one_output(call(x), x)
            if self.outputs == "labels":
                return self._labels(result)
            return outputs.pair(result, self.outputs) if result.ndim == 1 or result.shape[1] == 1 else result

        return ask

    def raw(self, made: Any, x: Any) -> np.ndarray:
        """Outputs as predict gives them, [n], [n, 1] or [n, c], in batches."""
        call = self.call(made)

        def ask(rows):
            part = containers.take(x, rows)
            return _one_output(call(part), part)

        return by_blocks(ask, containers.count(x), self.batch_size)

    def logits(self, made: Any, x: Any, known: bool = False) -> np.ndarray:
        """Logits [n, c], in batches; `known` as of `outputs.as_logits`."""
        result = self.raw(made, x)
        if self.outputs == "labels":
            classes = self.classes if isinstance(self.classes, int) else len(self.classes)
            return outputs.labels_as_logits("outputs of predict", self._labels(result), classes)
        return outputs.as_logits("outputs of predict", result, self.outputs, known)

    def read(
        self, made: Any, x: Any, y: np.ndarray, signals: Iterable[Signal], left: dict[Signal, str] | None = None
    ) -> Readings:
        """Everything that some signals need: logits, of copies as well where there are queries, and what is probed.

        Args:
          made, x, y: the model, the records [n, ...] and their class numbers [n].
          signals: what to read.
          left: if given, a signal that cannot be read ends nothing: it is left out, and its error put here.
        """
        found = self.logits(made, x)
        copies = tuple(self.logits(made, copy) for copy in self.copies(x))
        probed = {}
        for signal in sorted((one for one in set(signals) if one.needs), key=lambda one: one.name):
            try:
                probed[signal.name] = probing.probe(self, signal.name, made, x, y, found)
            except Exception as error:  # whatever it is, since nobody asked for this signal
                if left is None:
                    raise
                left[signal] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Readings(found, copies, probed)

    def copies(self, x: Any) -> list[Any]:
        """What `queries` makes of x, without x itself; [] where there are none.

        Raises:
          ValueError: copies of another shape, or a first one that is not x.
        """
        if self.queries is None:
            return []
        made = self.queries(containers.copied(x))
        if not isinstance(made, Iterable) or isinstance(made, (str, Mapping)):
            raise ValueError(f"queries(x) is a {type(made).__name__}; expected a list of copies of x, x itself first.")
        made = list(made)
        if not containers.is_numeric(x):
            return made[1:]
        made = [checks.shape("queries", np.asarray(copy), x.shape) for copy in made]
        # Equal but for rounding: queries may give float32 for float64.
        if not made or not np.allclose(made[0], x, rtol=1e-6, atol=0, equal_nan=True):
            raise ValueError(
                "queries(x)[0] is not x: the records themselves come first, and their moved copies after them. Return "
                "[x, *copies] and leave x unchanged, as probes.flips_and_shifts does."
            )
        return made[1:]

    def fingerprint(self, x: Any, signals: Iterable[Signal] = PROBED) -> str:
        """A name for what models are asked beside x, the same in every process.

        Under one name, a model's readings on x are the same. It knows nothing of `predict`: see `recipes.fingerprint`.

        Args:
          x: records [n, ...]; a few of them show what `queries` does. Queries drawn afresh in each call have another
            name each time, rightly: no two models were asked the same.
          signals: that will be read; where `like` has no part in them, it has none in the name.

        Returns:
          16 hexadecimal digits.
        """
        few = containers.take(x, np.linspace(0, containers.count(x) - 1, ROWS).astype(int))
        parts = [self.outputs, [NOISE, COPIES, STARTS, FEATURES, SEED], few, *self.copies(few)]
        return value_digest(*parts, *probing.settings(self, x, {signal.name for signal in signals}))

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of label_robustness's noise, of each feature [...]."""
        return NOISE * probing.spread(self.like)

    def bounds(self, x: np.ndarray) -> tuple[float, float]:
        """Smallest and largest value of what boundary walks ask: `like`'s, and x's own where a pool reaches further."""
        return probing.bounds(self.like, x)

    @property
    def starts(self) -> np.ndarray:
        """Where boundary walks may begin, beside noise."""
        return self.like[:: max(1, len(self.like) // STARTS)]

    def _labels(self, result: np.ndarray) -> np.ndarray:
        """Class numbers [b] of what predict gave: labels, or scores, of which the largest is one."""
        if result.ndim == 2:
            result = result[:, 0] if result.shape[1] == 1 else result.argmax(1)
        if isinstance(self.classes, int):
            return outputs.as_labels("outputs of predict", result, self.classes)
        return class_numbers("outputs of predict", result, self.classes)


@functools.lru_cache(maxsize=128)
def _applied(model: Model) -> Callable:
    return surroundings.jit(lambda variables, x: model.apply(variables, x)[0])


def _in_full_batches(predict: Callable[[Any], Array], size: int, x: Any) -> np.ndarray:
    """predict(x), by calls of exactly `size` records: the last one is repeated as often as it takes."""

    def ask(rows):
        full = containers.copied(containers.take(x, rows))
        return _one_output(predict(full), full)

    return by_blocks(ask, containers.count(x), size, full=True)


def _one_output(result: Any, x: Any) -> np.ndarray:
    records = containers.count(x)
    if isinstance(result, (tuple, list, dict)):
        raise ValueError(f"predict returned a {type(result).__name__}; expected one array [{records}, classes].")
    checks.unmasked("output of predict", result)
    result = np.array(result)  # a copy, since predict may give the same buffer at every call
    return result if result.shape == (records,) else checks.shape("output of predict", result, (records, None))
