"""What a caller of an audit gives, settled: outputs as logits, labels as columns, attacks that the outputs allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.reading import class_names
from gecko_jax.audit.reading.reader import Asker
from gecko_jax.audit.reading.readings import Readings, checked
from gecko_jax.audit.validity.containers import as_records, take
from gecko_jax.audit.validity.records import check_rows
from gecko_jax.probes import outputs
from gecko_jax.types import Array, Examples


class Entered(NamedTuple):
    """Attributes:
    readings: logits, queries and probed signals.
    y: [n] columns of the logits.
    outputs: what was given: "logits", "probabilities" or "labels".
    classes: names of the columns, or None.
    """

    readings: Readings
    y: np.ndarray
    outputs: str
    classes: list | None


def entered(
    logits: Array,
    y: Array,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    kind: str = "logits",
    classes: Sequence | None = None,
    models: tuple[int, ...] = (),
) -> Entered:
    """Returns what `audit_model` and `audit_models` are given, settled.

    Args:
      logits, y, queries, probed, kind, classes: theirs.
      models: the axes before the records': (m,) for m models.

    Raises:
      ValueError: outputs that are not what `kind` says they are, a label that `classes` does not name.
    """
    checks.one_of("outputs", kind, outputs.OUTPUTS)
    names, shape = class_names.as_classes(classes), (*models, len(y))
    logits, *queries = (np.asarray(checks.unmasked("outputs", one)) for one in (logits, *queries))
    if logits.shape in (shape, (*shape, 1)) and len(y):  # one number a record
        if kind == "logits" and logits.dtype.kind in outputs.LABEL_KINDS:
            outputs.check_guessed(logits, y, names)
            kind = "labels"
        logits, *queries = (one.reshape(*shape, 1) if one.size == logits.size else one for one in (logits, *queries))
    y = class_names.class_numbers("y", y, names)
    if kind == "labels":
        if logits.shape != (*shape, 1):
            raise ValueError(f"labels has shape {logits.shape}; expected {shape}, a predicted label for each record.")
        if y.dtype.kind not in "biu":
            raise ValueError(f"y has dtype {y.dtype}; expected class numbers, or classes= with the names of all.")
        logits, *queries = (_labels(one, names) for one in (logits, *queries))
        count = len(names) if names else max(2, 1 + int(max(np.max(logits), np.max(y))))
        return Entered(checked(logits, queries, probed, kind, count), y, kind, names)
    outputs.check_binary(kind, logits, y)
    found = checked(logits, queries, probed, kind)
    class_names.as_classes(names, found.logits.shape[-1])
    return Entered(found, y, kind, names)


def _labels(labels: np.ndarray, names: list | None) -> np.ndarray:
    """Predicted labels [..., n, 1] as class numbers [..., n]."""
    return class_names.class_numbers("labels", labels.reshape(-1), names).reshape(labels.shape[:-1])


def settled(name: str, part: Examples | None, names: list | None) -> Examples | None:
    """Records as arrays, labels as columns of the outputs."""
    if part is None:
        return None
    check_rows(name, part)
    return Examples(as_records(part.x), class_names.class_numbers(f"{name}.y", part.y, names), np.asarray(part.id))


def first_answer(
    asker: Asker, made: Any, audited: Examples, others: Sequence[Examples | None], notes: list[str]
) -> tuple[Asker, int]:
    """The asker that knows what predict gives, by its answer to one record, and the number of columns of its logits."""
    try:
        first = asker.raw(made, take(audited.x, slice(0, 1)))
    except Exception as error:
        error.add_note("predict was asked about one record alone. If it takes a fixed number, say batch_size=.")
        raise
    if asker.outputs == "labels" or (asker.outputs == "logits" and outputs.are_labels(first)):
        if asker.outputs == "logits":
            notes.append("predict gives one integer or word for each record, which is taken for a predicted label")
        parts = [np.asarray(checks.unmasked("y", part.y)) for part in (audited, *others) if part is not None]
        every = np.concatenate(parts)
        if asker.classes is None and every.dtype.kind not in "iu":
            raise ValueError(
                f"y has dtype {every.dtype}; expected class numbers, or classes= with the names of all classes."
            )
        classes = max(2, int(every.max()) + 1) if asker.classes is None else asker.classes
        return asker._replace(outputs="labels", classes=classes), classes if isinstance(classes, int) else len(classes)
    outputs.check_binary("output of predict", first, audited.y)
    columns = outputs.as_logits("outputs of predict", first, asker.outputs, known=True).shape[-1]
    class_names.as_classes(asker.classes, columns)
    return asker, columns
