"""Encodes what a caller of an audit gives: a classifier's outputs as logits, labels as columns of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.reading import class_names
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.reading.readings import LOSS_OF_KIND, Readings, class_readings, other_readings
from gecko_jax.audit.reading.saved_signals import check_population
from gecko_jax.audit.validity.containers import as_records, take
from gecko_jax.audit.validity.records import check_rows
from gecko_jax.probes import outputs
from gecko_jax.probes.records import check_labels
from gecko_jax.types import Array, Examples


class Encoded(NamedTuple):
    """Outputs and labels that a caller gave, as attacks read them.

    Attributes:
      readings: outputs (a classifier's as logits), queries and values of other signals.
      y: [n] columns of the logits, int64; of other outputs, the labels as they are.
      outputs: what was given: "logits", "probabilities", "labels", "tokens" or "numbers".
      classes: names of the columns, or None.
    """

    readings: Readings
    y: np.ndarray
    outputs: str
    classes: list | None


def encode(
    given: Array,
    y: Array,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    kind: str = "logits",
    classes: Sequence | Array | None = None,
    models: tuple[int, ...] = (),
) -> Encoded:
    """Returns what `audit_model` and `audit_models` are given, checked and encoded.

    Args:
      given, y, queries, probed, kind, classes: their outputs, y, queries, probed, outputs= and classes=.
      models: the axes before the records': (m,) for m models.

    Raises:
      ValueError: outputs that are not what `kind` says they are, a label that `classes` does not name.
    """
    checks.one_of("outputs", kind, (*outputs.OUTPUTS, *outputs.OTHER_OUTPUTS))
    given, *queries = (_as_array(one) for one in (given, *queries))
    if kind in outputs.OTHER_OUTPUTS:
        if classes is not None:
            raise ValueError(f"classes= names the columns of a classifier, and outputs={kind!r}; leave it out.")
        y = np.asarray(checks.unmasked("y", y))
        y = y.astype(np.float64) if kind == "numbers" else y
        readings = other_readings(given, y, queries, probed, kind=kind, model_axes=len(models))
        return Encoded(readings, y, kind, None)
    names, shape = class_names.as_classes(classes), (*models, len(y))
    if given.shape in (shape, (*shape, 1)) and len(y):  # one number a record
        if kind == "logits" and given.dtype.kind in outputs.LABEL_KINDS:
            outputs.check_guessed(given, y, names)
            kind = "labels"
        given, *queries = (one.reshape(*shape, 1) if one.size == given.size else one for one in (given, *queries))
    y = class_names.class_numbers("y", y, names)
    if kind == "labels":
        if given.shape != (*shape, 1):
            raise ValueError(f"labels has shape {given.shape}; expected {shape}, a predicted label for each record.")
        if y.dtype.kind not in "biu":
            raise ValueError(f"y has dtype {y.dtype}; expected class numbers, or classes= with the names of all.")
        given, *queries = (_labels(one, names) for one in (given, *queries))
        count = len(names) if names else max(2, 1 + int(max(np.max(given), np.max(y))))
        readings = class_readings(given, queries, probed, kind, count)
    else:
        outputs.check_binary(kind, given, y)
        readings = class_readings(given, queries, probed, kind)
        class_names.as_classes(names, readings.model_outputs().shape[-1])
    logits = checks.shape("logits", readings.model_outputs(), (None,) * (len(models) + 2))
    return Encoded(readings, check_labels(y, *logits.shape[-2:]), kind, names)


def _as_array(given: Any) -> np.ndarray:
    """Returns outputs as an array; ValueError for several named outputs, and for none."""
    if isinstance(given, Mapping):
        raise ValueError(
            f"outputs hold {checks.listed(given)}; an audit reads one array. Pass what is released: of a network with "
            "several exits models.answers(outputs['exits'], threshold).logits."
        )
    if (array := np.asarray(checks.unmasked("outputs", given))).ndim == 0:
        raise ValueError(f"outputs={given!r} is not an array; expected the outputs of every record.")
    return array


def encode_population(
    population: tuple[Readings | Array, Array] | None, like: Encoded, models: tuple[int, ...] = ()
) -> tuple[Readings, np.ndarray] | None:
    """Returns readings and labels [z] of records that no model was trained on, checked; None without a population.

    Args:
      population: (outputs [..., z, c] of the same kind, labels [z]); readings, which were checked, in place of outputs.
      like: the outputs of the audited records, by the same models.
      models: the axes before the records': (m,) for m models.

    Raises:
      ValueError: predicted labels, of which no attack reads a population; queries; outputs of another shape; the
        audited records themselves.
    """
    if population is None:
        return None
    unseen_outputs, y = population
    if isinstance(unseen_outputs, Readings):
        return unseen_outputs, np.asarray(y)
    if like.outputs == "labels":
        raise ValueError("population= is of predicted labels, and no attack reads those of a population; leave it out.")
    if like.readings.queries:
        raise ValueError("population= has no moved copies, and queries= are given; leave one of them out.")
    encoded = encode(unseen_outputs, y, (), None, like.outputs, like.classes, models)
    audited, unseen = like.readings.model_outputs(), encoded.readings.model_outputs()
    leading = len(models) + 1
    expected = (*models, len(encoded.y), *audited.shape[leading:])
    checks.shape("population", unseen, expected)
    known, others = (Readings(None, values={"outputs": array}) for array in (audited, unseen))
    check_population(known, others, leading)
    return encoded.readings, encoded.y


def _labels(labels: np.ndarray, names: list | None) -> np.ndarray:
    """Returns predicted labels [..., n, 1] as class numbers [..., n]."""
    return class_names.class_numbers("labels", labels.reshape(-1), names).reshape(labels.shape[:-1])


def encode_examples(name: str, part: Examples, names: list | None) -> Examples:
    """Returns records as arrays, and labels as columns of the outputs."""
    check_rows(name, part)
    return Examples(as_records(part.x), class_names.class_numbers(f"{name}.y", part.y, names), np.asarray(part.id))


def check_all_labels(columns: int | None, *parts: Examples | None) -> np.ndarray:
    """Returns the labels of the first part, after checking those of all: class numbers below `columns`, if not None."""
    y, *_ = (part.y if columns is None else check_labels(part.y, len(part.y), columns) for part in parts if part)
    return y


def first_answer(
    reader: ModelReader, model: Any, audited: Examples, others: Sequence[Examples | None], notes: list[str]
) -> tuple[ModelReader, int | None]:
    """Returns the reader that knows what predict gives, by its answer to one record, and the columns of its logits.

    The columns are None if these are not a classifier's outputs.
    """
    try:
        first = reader.raw(model, take(audited.x, slice(0, 1)))
    except Exception as error:
        error.add_note("predict was asked about one record alone. If it takes a fixed number, say batch_size=.")
        raise
    if reader.outputs == "labels" or (reader.outputs == "logits" and outputs.are_labels(first)):
        if reader.outputs == "logits":
            notes.append("The model gives one integer or word for each record, which is taken for a predicted label.")
        parts = [np.asarray(checks.unmasked("y", part.y)) for part in (audited, *others) if part is not None]
        labels = np.concatenate(parts)
        if reader.classes is None and labels.dtype.kind not in "iu":
            raise ValueError(
                f"y has dtype {labels.dtype}; expected class numbers, or classes= with the names of all classes."
            )
        classes = max(2, int(labels.max()) + 1) if reader.classes is None else reader.classes
        return reader._replace(outputs="labels", classes=classes), classes if isinstance(classes, int) else len(classes)
    if reader.kind != "classes":
        LOSS_OF_KIND[reader.kind](first, audited.y[:1])  # refuses outputs that do not fit the labels, before more work
        return reader, None
    outputs.check_binary("output of predict", first, audited.y)
    columns = outputs.as_logits("outputs of predict", first, reader.outputs, known=True).shape[-1]
    if not isinstance(reader.classes, int):
        class_names.as_classes(reader.classes, columns)
    return reader, columns
