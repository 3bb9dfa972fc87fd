"""Evaluates signals on a model: variables or a predict function -> Readings on records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, training
from gecko_jax.audit.reading.class_names import class_numbers
from gecko_jax.audit.reading.raw_outputs import compiled, in_full_batches, one_output
from gecko_jax.audit.reading.readings import OF_CLASSES, Available, Readings
from gecko_jax.audit.validity import containers
from gecko_jax.digests import value_digest
from gecko_jax.probes import READERS, ProbedModel, outputs
from gecko_jax.probes.readers.signal_reader import no_model
from gecko_jax.signals import Signal
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Model

FINGERPRINT_RECORDS = 4  # by whose copies a fingerprint knows queries


class ModelReader(NamedTuple):
    """Evaluates signals on a target and on its shadow models, all in the same way.

    A model, below, is its variables; or its predict function, if `variables` is False.

    Attributes:
      predict: what `audit` was given: (x) or (variables, x) -> outputs, or a Model.
      variables: whether models are given by their variables, and not by a predict function.
      outputs: "logits", "probabilities" or "labels" of a classifier; "tokens" or "numbers": see `Signal.outputs`.
      batch_size: records in one call.
      queries: x -> copies of x, the first x itself; or None.
      reference_inputs: records [k, ...] that set the scale of what probes do to a record, the same for every model.
      layout: of `layouts.LAYOUTS`, or None: the one that the records' shape suggests.
      fixed: whether every call has exactly batch_size records.
      classes: names of the classes, by which predicted labels are told; or how many there are; or None.
      versions: names of several released versions of every model; () for one. `predict` is then a function for each, by
        name; or, if `variables` is False, a model is. Outputs of the second and further ones are read as queries are.
    """

    predict: Callable[..., Array] | Model | Mapping[str, Any] | Sequence[Any]
    variables: bool
    outputs: str = "logits"
    batch_size: int = 1024
    queries: Callable[[Any], list[Any]] | None = None
    reference_inputs: Any = None
    layout: str | None = None
    fixed: bool = False
    classes: list | int | None = None
    versions: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Returns the kind of outputs that signals read: "classes", "tokens" or "numbers"."""
        return self.outputs if self.outputs in outputs.OTHER_OUTPUTS else "classes"

    def available_signals(self, by_default: bool = False) -> Available:
        """Returns the signals that can be read, or those that are read without being asked for by name."""
        if self.kind != "classes":
            return Available((self.kind,))
        if self.versions:
            return Available(OF_CLASSES)
        probed = self.probed_model(None)
        names = (
            name
            for name, reader in READERS.items()
            if (probed.model is not None or "gradients" not in reader.signal.needs)
            and (not by_default or reader.by_default(probed))
        )
        return Available(OF_CLASSES, tuple(names))

    def hindrance(self, signal: Signal) -> str:
        """Returns why a signal cannot be read off these records and outputs, in words that follow "it", or ""."""
        if self.outputs == "labels" and signal.outputs != "labels":
            return f"reads {signal.name!r}, and predict gives labels alone"
        if not signal.needs:
            return ""
        reason = READERS[signal.name].hindrance(self.probed_model(None))
        return reason and f"reads {signal.name!r}, {reason}"

    def probed_model(self, model: Any) -> ProbedModel:
        """Returns a model as the readers of `gecko_jax.probes` may ask it; None for one that is not asked."""
        network = self.predict if isinstance(self.predict, Model) else None
        return ProbedModel(
            no_model if model is None else self.answers(model),
            self.reference_inputs,
            network,
            model if network else None,
            self.outputs,
            self.layout,
            self.batch_size,
        )

    def call(self, model: Any) -> Callable[[Any], Array]:
        """Returns x [b, ...] -> outputs [b, c] of a model, as predict gives them."""
        if self.versions:
            reader, first = self.version(self.versions[0], model)
            return reader.call(first)
        if isinstance(network := self.predict, Model):
            if isinstance(self.reference_inputs, Mapping):
                return functools.partial(compiled(network), model)
            return lambda x: training.predict(network, model, x)
        assert not isinstance(self.predict, (Mapping, Sequence))  # of versions
        predict = functools.partial(self.predict, model) if self.variables else model
        if self.fixed:
            return functools.partial(in_full_batches, predict, self.batch_size, self.kind)
        # A copy, because predict may work in place (x *= .5), and the records are read again. A read-only view would
        # save little beside a model's own work, and other frameworks refuse one, or write to it nevertheless.
        return lambda x: predict(containers.copied(x))

    def version(self, name: str, model: Any) -> tuple[ModelReader, Any]:
        """Returns the reader of one version, and the model as that one reads it."""
        if not self.variables:
            return self._replace(versions=(), predict=model[name]), model[name]
        assert isinstance(self.predict, Mapping)
        return self._replace(versions=(), predict=self.predict[name]), model

    def answers(self, model: Any) -> Callable[[Any], Array]:
        """Returns x [b, ...] -> what probes read: outputs [b, c] of two classes or more, or labels int64 [b]."""
        call = self.call(model)

        def ask(x):
            result = one_output(call(x), x, self.kind)
            if self.outputs == "labels":
                return self._labels(result)
            return outputs.pair(result, self.outputs) if result.ndim == 1 or result.shape[1] == 1 else result

        return ask

    def raw(self, model: Any, x: Any) -> np.ndarray:
        """Returns outputs as predict gives them, [n], [n, 1] or [n, c] of a classifier, asked for in batches."""
        call = self.call(model)

        def ask(rows):
            part = containers.take(x, rows)
            return one_output(call(part), part, self.kind)

        return by_blocks(ask, containers.count(x), self.batch_size)

    def encoded(self, model: Any, x: Any, known: bool = False) -> np.ndarray:
        """Returns logits [n, c] of a classifier, or other outputs as they are, asked for in batches.

        `known` is that of `outputs.as_logits`.
        """
        result = self.raw(model, x)
        if self.kind != "classes":
            return result
        if self.outputs == "labels":
            assert self.classes is not None  # the first answer showed how many there are
            classes = self.classes if isinstance(self.classes, int) else len(self.classes)
            return outputs.labels_as_logits("outputs of predict", self._labels(result), classes)
        return outputs.as_logits("outputs of predict", result, self.outputs, known)

    def read(
        self, model: Any, x: Any, y: np.ndarray, signals: Iterable[Signal], errors: dict[Signal, str] | None = None
    ) -> Readings:
        """Returns everything that some signals need: outputs, also of copies if there are queries, and what is probed.

        Args:
          model: its variables, or its predict function.
          x, y: the records [n, ...] and their labels, class numbers [n] of a classifier.
          signals: what to read.
          errors: if given, a signal that cannot be read is left out and its error put here; else the error is raised.
        """
        if self.versions:
            each = [reader.read(one, x, y, ()) for reader, one in (self.version(name, model) for name in self.versions)]
            for name, one in zip(self.versions, each, strict=True):
                columns, wanted = one.model_outputs().shape[-1], each[0].model_outputs().shape[-1]
                if columns != wanted:
                    raise ValueError(
                        f"version {name!r} gives {columns} columns and version {self.versions[0]!r} {wanted}; expected "
                        "the same classes of all."
                    )
            return Readings(each[0].outputs, tuple(one.model_outputs() for one in each[1:]), kind=self.kind)
        result = self.encoded(model, x)
        copies = tuple(self.encoded(model, copy) for copy in self.copies(x))
        values = {}
        for signal in sorted((one for one in set(signals) if one.needs), key=lambda one: one.name):
            try:
                values[signal.name] = READERS[signal.name].read(self.probed_model(model), x, y, result)
            except Exception as error:  # whatever it is, because nobody asked for this signal
                if errors is None:
                    raise
                errors[signal] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Readings(result, copies, values, kind=self.kind)

    def copies(self, x: Any) -> list[Any]:
        """Returns what `queries` makes of x, without x itself; [] without queries.

        Raises:
          ValueError: copies of another shape, or a first one that is not x.
        """
        if self.queries is None:
            return []
        copies = self.queries(containers.copied(x))
        if not isinstance(copies, Iterable) or isinstance(copies, (str, Mapping)):
            kind = type(copies).__name__
            raise ValueError(f"queries(x) is a {kind}; expected a list of copies of x, x itself first.")
        copies = list(copies)
        if not containers.is_numeric(x):
            return copies[1:]
        copies = [checks.shape("queries", np.asarray(copy), x.shape) for copy in copies]
        # Equal but for rounding: queries may give float32 for float64.
        if not copies or not np.allclose(copies[0], x, rtol=1e-6, atol=0, equal_nan=True):
            raise ValueError(
                "queries(x)[0] is not x: the records themselves come first, and their moved copies after them. Return "
                "[x, *copies] and leave x unchanged, as probes.flips_and_shifts does."
            )
        return copies[1:]

    def further_outputs(self, x: Any) -> int:
        """Returns how many outputs are read beside the first: those of copies, or of further versions."""
        return len(self.versions) - 1 if self.versions else len(self.copies(containers.take(x, slice(0, 1))))

    def fingerprint(self, x: Any, signals: Iterable[Signal] | None = None) -> str:
        """Returns a name for what models are asked beside x, the same in every process.

        Under one name, a model's readings on x are the same. It knows nothing of `predict`: see `recipes.fingerprint`.

        Args:
          x: records [n, ...]; a few of them show what `queries` does. Queries drawn afresh in each call have another
            name each time, rightly: no two models were asked the same.
          signals: that will be read, all if None. If `reference_inputs` has no part in them, it has none in the name.

        Returns:
          16 hexadecimal digits.
        """
        few = containers.take(x, np.linspace(0, containers.count(x) - 1, FINGERPRINT_RECORDS).astype(int))
        names = sorted(READERS) if signals is None else sorted(signal.name for signal in signals if signal.needs)
        settings = [part for name in names for part in READERS[name].settings(self.probed_model(None), x)]
        if self.versions:
            settings.append(" ".join(self.versions))
        return value_digest(self.outputs, few, *self.copies(few), *settings)

    def _labels(self, result: np.ndarray) -> np.ndarray:
        """Returns class numbers [b] of what predict gave: labels, or scores, of which the largest is one."""
        if result.ndim == 2:
            result = result[:, 0] if result.shape[1] == 1 else result.argmax(1)
        if isinstance(self.classes, int):
            return outputs.as_labels("outputs of predict", result, self.classes)
        return class_numbers("outputs of predict", result, self.classes)
