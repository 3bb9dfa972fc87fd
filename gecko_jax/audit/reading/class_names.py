"""Classes of the outputs' columns: names of classes -> class numbers, and a warning if columns look permuted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from gecko_jax import checks, keys
from gecko_jax.types import Array

MIN_ACCURACY_GAIN = 0.35  # by another order of the columns: more than a model's own confusions explain
MAX_MATCHED_CLASSES = 300  # whose columns are matched one to one, which takes the cube of their number
MAX_CHANCE = 1e-6  # of an accuracy that far below chance


def as_classes(classes: Sequence | Array | None, columns: int | None = None) -> list | None:
    """Returns the names of the columns as a list, checked: two or more, no name twice, one for each column.

    Raises:
      ValueError: classes that are not that.

    >>> as_classes(("cat", "dog"), columns=2)
    ['cat', 'dog']
    """
    if classes is None:
        return None
    names = checks.shape("classes", np.asarray(classes), (None,)).tolist()
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"classes={names!r} must name two classes or more, none twice: one for each output column.")
    if columns is not None and len(names) != columns:
        raise ValueError(
            f"classes has {len(names)} names and the outputs {columns} columns; name the class of each column."
        )
    return names


def class_numbers(name: str, y: Array, classes: Sequence | Array | None) -> np.ndarray:
    """Returns labels [n] as columns of the outputs: the place of each among `classes`; as they are, if None.

    >>> class_numbers("y", ["dog", "cat", "dog"], ["cat", "dog"]).tolist()
    [1, 0, 1]
    """
    y = np.asarray(checks.unmasked("y", y))
    names = as_classes(classes)
    if names is None:
        return y.astype(np.int64) if y.dtype == bool else y
    place = {value: i for i, value in enumerate(names)}
    values = y.tolist() if y.ndim == 1 else checks.shape(name, y, (None,))
    missing = sorted({repr(value) for value in values if value not in place})
    if missing:
        raise ValueError(
            f"{name} holds {', '.join(missing[:5])}, which classes={list(place)[:10]!r} does not name; classes[j] is "
            "the label that column j of the outputs stands for (scikit-learn's model.classes_)."
        )
    return np.array([place[value] for value in values], np.int64)


def check_columns(logits: np.ndarray, y: np.ndarray, member: np.ndarray) -> list[str]:
    """Returns warnings about an accuracy on members that no trained model has.

    It is below chance, or far higher with the columns in another order.

    Args:
      logits: [m, n, c].
      y: [n] class numbers.
      member: [m, n] bool.
    """
    models, records, classes = logits.shape
    guesses, rows = logits.argmax(-1), np.broadcast_to(y, (models, records))
    # The order is fitted on half of the records and judged on the others: by chance alone, the best order looks good.
    half = keys.generator(0, "audit", "order of columns").random(records) < 0.5
    fitted = np.broadcast_to(half, member.shape)
    order = _best_order(guesses[member & fitted], rows[member & fitted], classes)
    who = "The models are" if models > 1 else "The model is"
    say = "column j of the outputs may not be class j: say which it is, classes= (scikit-learn's model.classes_)"
    judged = member & ~fitted
    total, right, could = (int(part[judged].sum()) for part in (member, guesses == rows, order[guesses] == rows))
    gained = total and stats.binom.sf(could - 1, total, max(right, 1) / total) < MAX_CHANCE
    if gained and could - right > MIN_ACCURACY_GAIN * total:
        return [f"{who} right on {right} of {total} members, and with the columns in another order on {could}; {say}."]
    total, right = int(member.sum()), int((guesses == rows)[member].sum())
    if stats.binom.cdf(right, total, 1 / classes) < MAX_CHANCE:
        return [
            f"{who} right on {right} of {total} members, fewer than by chance; {say}, or the labels are not those that "
            "it was trained on."
        ]
    return []


def _best_order(guesses: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns the class [c] that each column fits best. If there are very many, several columns may share a class."""
    order = np.arange(classes)
    if classes <= MAX_MATCHED_CLASSES:
        table = np.zeros((classes, classes))
        np.add.at(table, (guesses, labels), 1)
        guessed, label = optimize.linear_sum_assignment(-table)
        order[guessed] = label
        return order
    pairs, counts = np.unique(np.stack([guesses, labels], 1), axis=0, return_counts=True)
    for column, label in pairs[np.argsort(counts, kind="stable")]:
        order[column] = label
    return order
