"""Attribute inference: what a model's representations tell of a text's author ("you are what you write").

    features = probes.representations(model, variables, x)                       # what a layer computes for each row
    result = audit.attribute_inference(features, trait=style, group=rows.user)   # can a stranger's style be read off?

A linear probe is fitted on some authors and judged on others: with an author's rows on both sides it would recognize
the author, and a figure near 1 would say nothing about the trait. Beside it stands the guess of the most frequent
value, and the probe is worth what it is right more often than that. Compare the result with one of the text itself (its
counts of words): what the text tells anyone, no training hides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.audit.attribute_probe import Design, cross_fitted, linear_probe
from gecko_jax.audit.attribute_record import AttributeInference
from gecko_jax.audit.validity.containers import is_sparse
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.types import Array, Estimate
from gecko_jax.user_names import with_one_spelling


def attribute_inference(
    features: Any,
    trait: Array,
    group: Array,
    folds: int = 5,
    seed: int = 0,
    classifier: Callable[[], Any] | None = None,
    confidence: float = 0.95,
) -> AttributeInference:
    """Measures how well a trait of authors can be read off features of their texts, cross-fitted by author.

    Args:
      features: [n, d] numbers of each row, such as `probes.representations`; also a sparse matrix, such as
        `audit.bag_of_tokens(tokens)`.
      trait: [n] what is guessed, text or integers; two values or more, each in `folds` groups or more.
      group: [n] whom a row is of. Rows of one group are never on both sides of a fold. For traits of authors these are
        the authors; to guess the author itself, the documents.
      folds: number of parts; the probe is fitted on all but one of them, and judged on that one. At least 2.
      seed: of the draw of the folds.
      classifier: () -> an object with fit(x, y), predict_proba(x) and classes_, such as scikit-learn's. None: a linear
        probe, logistic regression on standardized features.
      confidence: of the intervals.

    Returns:
      An AttributeInference. Its intervals hold for other groups like these, with these probes.

    Raises:
      ValueError: other shapes, features that are not finite, fewer groups of a value than folds, or one value alone.

    Source: Plant, Giuffrida and Gkatzia, "You Are What You Write" (2022), with authors held out.

    >>> rng = np.random.default_rng(0)
    >>> author = np.repeat(np.arange(20), 6)
    >>> style = author % 2
    >>> result = attribute_inference(rng.normal(size=(120, 3)) + 9 * style[:, None], style, author)
    >>> result.accuracy.value, result.advantage.low > 0, result.group_accuracy.n
    (1.0, True, 20)
    >>> print(result)
    2 values, 120 rows of 20 groups
    rows guessed right    1.000 [0.832, 1.000]; the most frequent value 0.500
    advantage             +0.500 [+0.260 to +0.740]: the features tell it
    groups guessed right  1.000 [0.832, 1.000]; the most frequent value 0.500
    """
    features = features.toarray() if is_sparse(features) else features
    features = checks.shape("features", np.asarray(checks.unmasked("features", features)), (None, None))
    checks.finite("features", checks.not_empty("features", features.astype(np.float64)))
    trait = checks.shape("trait", np.asarray(checks.unmasked("trait", trait)), features.shape[:1])
    group = checks.shape("group", np.asarray(checks.unmasked("group", group)), features.shape[:1])
    group = with_one_spelling("group", group)
    if trait.dtype.kind == "f":
        raise ValueError(f"trait has dtype {trait.dtype}; expected text or integers: put numbers into ranges first.")
    (values, label), (names, place) = _named("trait", trait), _named("group", group)
    label, place = label.reshape(-1), place.reshape(-1)
    _check_values(values, label, place, checks.integer("folds", folds, 2))
    design = Design(len(values), folds, seed, classifier or linear_probe)
    log_odds = cross_fitted(features, label, place, design)
    common = (label == np.bincount(label).argmax()).astype(np.float64)
    hits = (log_odds.argmax(1) == label).astype(np.float64)
    rows, right, guessed = (np.bincount(place, each) for each in (np.ones(len(label)), hits, common))
    one_trait = all(len(np.unique(label[place == i])) == 1 for i in range(len(names)))
    of_groups, most_groups = _of_groups(log_odds, label, place, confidence) if one_trait else (None, None)
    return AttributeInference(
        _share(right, rows, 0.0, confidence),
        _share(guessed, rows, 0.0, confidence),
        _share(right - guessed, rows, -1.0, confidence),
        of_groups,
        most_groups,
        values,
        names,
        rows.astype(np.int64),
        right,
    )


def attribute_difference(before: AttributeInference, after: AttributeInference, confidence: float = 0.95) -> Estimate:
    """Returns the accuracy of one set of features minus that of another, of the same rows, with its interval.

    Args:
      before, after: of the same rows and groups, such as before and after a privacy method. The same seed gives both
        the same folds.
      confidence: of the interval, over groups.

    Raises:
      ValueError: results of other groups, or of other numbers of rows.

    >>> rng = np.random.default_rng(0)
    >>> author, noise = np.repeat(np.arange(20), 6), rng.normal(size=(120, 3))
    >>> clear, hidden = (attribute_inference(noise + gap * (author % 2)[:, None], author % 2, author) for gap in (9, 0))
    >>> attribute_difference(clear, hidden).low > 0.2
    True
    """
    if not (np.array_equal(before.groups, after.groups) and np.array_equal(before.rows, after.rows)):
        raise ValueError(
            f"before has {len(before.groups)} groups with {before.rows.sum()} rows, after {len(after.groups)} with "
            f"{after.rows.sum()}; expected the same rows of the same groups in both."
        )
    return _share(before.right - after.right, before.rows, -1.0, confidence)


def _named(name: str, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different values in order, and the place of each row's among them."""
    if column.dtype.kind == "O" and any(value is None or value != value for value in column):
        row = next(i for i, value in enumerate(column) if value is None or value != value)
        raise ValueError(f"{name}[{row}] is {column[row]!r}, which would count as a value; leave the row out.")
    return np.unique(column.astype(str) if column.dtype.kind == "O" else column, return_inverse=True)


def _check_values(values: np.ndarray, label: np.ndarray, place: np.ndarray, folds: int) -> None:
    if len(values) < 2:
        raise ValueError(f"trait is {values[0].item()!r} throughout; expected two values or more, to guess from.")
    for i, value in enumerate(values):
        groups = len(np.unique(place[label == i]))
        if groups < folds:
            raise ValueError(
                f"trait {value.item()!r} is that of {groups} groups, fewer than folds={folds}; lower folds, leave its "
                "rows out, or join it with another value. If the trait is the author, give documents as group."
            )


def _share(sums: np.ndarray, rows: np.ndarray, lowest: float, confidence: float) -> Estimate:
    """Returns a ratio in lowest..1 with its interval over groups, which has a width even if all groups agree."""
    estimate = metrics.ratio_interval(sums, rows, confidence)
    if estimate.low is None or estimate.high is None:
        return estimate
    if estimate.high - estimate.low < 1e-9:
        value, differing = estimate.value, clopper_pearson(0, len(rows), confidence)[1]
        return estimate._replace(low=value - differing * (value - lowest), high=value + differing * (1.0 - value))
    return estimate._replace(low=max(estimate.low, lowest), high=min(estimate.high, 1.0))


def _of_groups(
    log_odds: np.ndarray, label: np.ndarray, place: np.ndarray, confidence: float
) -> tuple[Estimate, Estimate]:
    """Returns the shares of groups that are guessed right: from all of their rows, and by the most frequent value."""
    sums = np.zeros((int(place.max()) + 1, log_odds.shape[1]))
    np.add.at(sums, place, log_odds)
    truth = np.zeros(len(sums), np.int64)
    truth[place] = label
    guesses = (sums.argmax(1), np.bincount(truth).argmax())
    guessed, most = (metrics.extraction_rate(truth == guess, confidence) for guess in guesses)
    return guessed, most
