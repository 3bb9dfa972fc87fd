"""The probe that guesses a trait from features: fitted on some groups, read on the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import extras, keys

INVERSE_PENALTY = 0.1  # scikit-learn's C, on standardized features


class Design(NamedTuple):
    """How probes are fitted: number of the trait's values, folds, their seed, and () -> a classifier."""

    values: int
    folds: int
    seed: int
    classifier: Callable[[], Any]


def cross_fitted(features: np.ndarray, label: np.ndarray, place: np.ndarray, design: Design) -> np.ndarray:
    """Returns log p of each value for each row [n, v], by probes that have seen no row of its group."""
    extras.require("sklearn", "audit.attribute_inference")
    from threadpoolctl import threadpool_limits

    log_odds = np.empty((len(label), design.values))
    fold = folds_of(label, place, design)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that never changes
        for number in np.unique(fold):
            train, test = fold != number, fold == number
            probe = design.classifier().fit(features[train], label[train])
            chances = np.zeros((int(test.sum()), design.values))
            chances[:, np.asarray(probe.classes_, np.int64)] = probe.predict_proba(features[test])
            log_odds[test] = np.log(np.maximum(chances, np.finfo(np.float64).tiny))
    return log_odds


def folds_of(label: np.ndarray, place: np.ndarray, design: Design) -> np.ndarray:
    """Returns the fold of each row: groups of each value (the most frequent of their rows) are dealt out in turn."""
    groups = int(place.max()) + 1
    counts = np.zeros((groups, design.values), np.int64)
    np.add.at(counts, (place, label), 1)
    draws = keys.generator(design.seed, "attribute inference")
    order = draws.permutation(groups)
    order = order[np.argsort(counts[order].argmax(1), kind="stable")]
    fold = np.empty(groups, np.int64)
    fold[order] = np.arange(groups) % design.folds
    return fold[place]


def linear_probe() -> Any:
    """Returns logistic regression on standardized features, to be fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000))
