"""Attribute inference: scikit-learn's cross-fitting, authors who are never on both sides, and nothing from noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gecko_jax import audit
from gecko_jax.audit.attribute_probe import Design, folds_of, linear_probe

RNG = np.random.default_rng(0)
AUTHORS, ROWS, WIDTH = 60, 5, 6
AUTHOR = np.repeat([f"author {i}" for i in range(AUTHORS)], ROWS)
TRAIT = np.repeat(np.where(np.arange(AUTHORS) % 3 == 0, "terse", "full"), ROWS)
OWN = np.repeat(RNG.normal(size=(AUTHORS, WIDTH)) * 3, ROWS, 0)  # what tells the author, and nothing else
NOISE = RNG.normal(size=(AUTHORS * ROWS, WIDTH))
TOLD = NOISE + (TRAIT == "terse")[:, None] * np.linspace(0, 1, WIDTH)


def folds(trait, author, seed=0):
    label, place = (np.unique(each, return_inverse=True)[1] for each in (trait, author))
    return folds_of(label, place, Design(len(np.unique(trait)), 5, seed, linear_probe))


def test_it_is_scikit_learns_cross_fitting():
    fold = folds(TRAIT, AUTHOR)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    predicted = cross_val_predict(probe, TOLD, TRAIT, cv=PredefinedSplit(fold))
    result = audit.attribute_inference(TOLD, TRAIT, AUTHOR)
    right = predicted == TRAIT
    assert result.accuracy.value == pytest.approx(right.mean()) and 0.7 < right.mean() < 1
    by_author = {name: right[name == AUTHOR].sum() for name in np.unique(AUTHOR)}
    assert dict(zip(result.groups, result.right, strict=True)) == by_author and (result.rows == ROWS).all()
    shares = np.array(list(by_author.values())) / ROWS
    half = stats.t(AUTHORS - 1).ppf(0.975) * shares.std(ddof=1) / np.sqrt(AUTHORS)
    np.testing.assert_allclose(result.accuracy[1:3], [shares.mean() - half, shares.mean() + half])
    gain = np.array([right[name == AUTHOR].mean() - (TRAIT[name == AUTHOR][0] == "full") for name in result.groups])
    half = stats.t(AUTHORS - 1).ppf(0.975) * gain.std(ddof=1) / np.sqrt(AUTHORS)
    np.testing.assert_allclose(result.advantage[:3], [gain.mean(), gain.mean() - half, gain.mean() + half])
    assert result.majority.value == pytest.approx(2 / 3) == result.group_majority.value
    chances = cross_val_predict(probe, TOLD, TRAIT, cv=PredefinedSplit(fold), method="predict_log_proba")
    named = [np.unique(TRAIT)[chances[name == AUTHOR].sum(0).argmax()] for name in result.groups]
    truth = [TRAIT[name == AUTHOR][0] for name in result.groups]
    hits = sum(a == b for a, b in zip(named, truth, strict=True))
    interval = stats.binomtest(hits, AUTHORS).proportion_ci(method="exact")
    np.testing.assert_allclose(result.group_accuracy[:3], [hits / AUTHORS, *interval])


def test_no_author_is_on_both_sides():
    for seed in range(3):
        fold = folds(TRAIT, AUTHOR, seed=seed)
        assert all(len(set(fold[name == AUTHOR])) == 1 for name in np.unique(AUTHOR))
        for value in ("terse", "full"):
            assert np.ptp(np.bincount(fold[value == TRAIT], minlength=5)) <= ROWS
    result = audit.attribute_inference(OWN + NOISE, TRAIT, AUTHOR)
    assert result.advantage.low < 0.02  # the authors can be told, the trait cannot
    mixed = RNG.permutation(AUTHORS * ROWS)
    by_row = audit.attribute_inference(OWN + NOISE / 9, TRAIT, mixed, classifier=nearest)
    assert by_row.accuracy.value > 0.95  # with an author on both sides a probe finds the author


def nearest():
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def test_a_trait_that_features_do_not_tell_has_no_advantage():
    """Of 25 draws with authors of their own kind, the interval lies above 0 in few."""
    rng, above = np.random.default_rng(2), 0
    for seed in range(25):
        features = np.repeat(rng.normal(size=(AUTHORS, 2)), ROWS, 0) + rng.normal(size=(AUTHORS * ROWS, 2))
        trait = np.repeat(rng.permutation(np.arange(AUTHORS) % 2), ROWS)
        above += audit.attribute_inference(features, trait, AUTHOR, folds=2, seed=seed).advantage.low > 0
    assert above <= 3


def test_intervals_have_a_width_if_all_are_right():
    result = audit.attribute_inference(TOLD + 50 * (TRAIT == "terse")[:, None], TRAIT, AUTHOR)
    bound = 1 - 0.025 ** (1 / AUTHORS)
    assert result.accuracy.value == 1 and result.accuracy.low == pytest.approx(1 - bound)


def test_counts_of_words_are_features():
    tokens = np.where(TRAIT == "terse", 3, 4)[:, None] * np.ones((1, 3), int)
    result = audit.attribute_inference(audit.bag_of_tokens(tokens), TRAIT, AUTHOR)
    assert result.accuracy.value == 1 and "the features tell it" in str(result)
    assert "not shown to be better" in str(audit.attribute_inference(NOISE, TRAIT, AUTHOR))


def test_two_sets_of_features_are_compared_in_pairs():
    clear, hidden = (audit.attribute_inference(x, TRAIT, AUTHOR) for x in (TOLD, NOISE))
    difference = audit.attribute_difference(clear, hidden)
    assert difference.value == pytest.approx(clear.accuracy.value - hidden.accuracy.value)
    gaps = (clear.right - hidden.right) / ROWS
    half = stats.t(AUTHORS - 1).ppf(0.975) * gaps.std(ddof=1) / np.sqrt(AUTHORS)
    assert difference.high - difference.low == pytest.approx(2 * half)
    other = audit.attribute_inference(NOISE[:-ROWS], TRAIT[:-ROWS], AUTHOR[:-ROWS])
    with pytest.raises(ValueError, match="before has 60 groups with 300 rows, after 59 with 295"):
        audit.attribute_difference(clear, other)


def test_authors_are_guessed_by_document():
    """The author as the trait, documents as groups: rows differ in nothing else."""
    author = np.repeat(np.arange(4), 30)
    features = np.eye(4)[author] * 5 + RNG.normal(size=(120, 4))
    result = audit.attribute_inference(features, author, np.arange(120) // 2)
    assert result.accuracy.low > 0.9 and result.values.tolist() == [0, 1, 2, 3]
    varying = audit.attribute_inference(features, author, np.arange(120) % 40)
    assert varying.group_accuracy is None and varying.group_majority is None


def test_bad_traits_are_named():
    for call, words in (
        (lambda: audit.attribute_inference(NOISE[:, 0], TRAIT, AUTHOR), "features has shape"),
        (lambda: audit.attribute_inference(NOISE * np.nan, TRAIT, AUTHOR), "features holds 1800 entries"),
        (lambda: audit.attribute_inference(NOISE, TRAIT[:-1], AUTHOR), "trait has shape"),
        (lambda: audit.attribute_inference(NOISE, TRAIT, AUTHOR[:-1]), "group has shape"),
        (lambda: audit.attribute_inference(NOISE, np.arange(300.0), AUTHOR), "trait has dtype float64"),
        (lambda: audit.attribute_inference(NOISE, ["a"] * 300, AUTHOR), "trait is .*'a'.* throughout"),
        (lambda: audit.attribute_inference(NOISE, AUTHOR, AUTHOR), "is that of 1 groups, fewer than folds=5"),
        (lambda: audit.attribute_inference(NOISE, [None, *TRAIT[1:]], AUTHOR), r"trait\[0\] is None"),
        (lambda: audit.attribute_inference(NOISE, TRAIT, [*AUTHOR[:-1], None]), r"group\[299\] is None"),
        (lambda: audit.attribute_inference(NOISE, TRAIT, AUTHOR, folds=1), "folds=1"),
        (lambda: audit.attribute_inference(NOISE, TRAIT, AUTHOR, confidence=2), "confidence=2"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
