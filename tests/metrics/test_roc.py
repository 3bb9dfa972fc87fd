"""ROC figures against scikit-learn and against naive counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from gecko_jax import metrics


@st.composite
def scored(draw):
    """Scores with many ties, at least one member and one non-member."""
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    member = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    member[0], member[1] = True, False
    return np.array(scores, float), np.array(member)


@given(scored())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_curve_and_auc_are_scikit_learns(data):
    scores, member = data
    fpr, tpr, thresholds = metrics.roc_curve(scores, member)
    expected = oracle.roc_curve(member, scores, drop_intermediate=False)
    for ours, theirs in zip((fpr, tpr, thresholds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert metrics.roc_auc(scores, member) == pytest.approx(oracle.roc_auc_score(member, scores), abs=1e-12)


@given(scored(), st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_tpr_at_fpr_is_the_best_of_all_thresholds(data, fpr):
    scores, member = data
    best = 0.0
    for threshold in [*np.unique(scores), np.inf]:
        called = scores >= threshold
        if called[~member].sum() / (~member).sum() <= fpr:
            best = max(best, called[member].sum() / member.sum())
    assert metrics.tpr_at_fpr(scores, member, fpr) == best


@given(scored(), st.integers(-4, 4))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_balanced_accuracy_is_scikit_learns(data, threshold):
    scores, member = data
    expected = oracle.balanced_accuracy_score(member, scores >= threshold)
    assert metrics.balanced_accuracy(scores, member, threshold) == pytest.approx(expected)
    assert metrics.advantage(scores, member, threshold) == pytest.approx(2 * expected - 1)
    per_record = np.full(len(scores), float(threshold))
    assert metrics.balanced_accuracy(scores, member, per_record) == pytest.approx(expected)


def test_noise_reads_a_half_and_not_the_hulls_more():
    rng = np.random.default_rng(0)
    member = np.arange(100) < 50
    aucs = [metrics.roc_auc(rng.normal(size=100), member) for _ in range(400)]
    # One AUC of 50 + 50 has sd sqrt(101 / (12 * 50 * 50)) = .058; the convex hull's mean would be .577.
    assert abs(np.mean(aucs) - 0.5) < 4 * 0.058 / np.sqrt(400)


def test_infinite_scores_rank_and_rates_are_resolved_exactly():
    member = np.array([True, True, False, False])
    assert metrics.roc_auc([np.inf, 0.0, 0.0, -np.inf], member) == 0.875
    assert metrics.tpr_at_fpr([np.inf, 0.0, 0.0, -np.inf], member, 0.0) == 0.5
    assert metrics.smallest_fpr(np.arange(600) < 100) == 1 / 500
    # 29 of 100 is .29 although .29 * 100 < 29 in floats.
    scores, truth = -np.arange(101.0), np.arange(101) == 28
    assert metrics.tpr_at_fpr(scores, truth, 0.28) == 1.0


@pytest.mark.parametrize(
    ("scores", "member", "words"),
    [
        ([1.0, np.nan], [True, False], "1 NaN"),
        ([1.0, 2.0], [True, True], "no non-member"),
        ([1.0, 2.0], [False, False], "no member"),
        ([1.0, 2.0, 3.0], [True, False], "shape"),
        ([[1.0, 2.0]], [[True, False]], "never pooled"),
        ([1.0, 2.0, 3.0], [0, 2, 1], "other than 0 and 1"),
        ([], [], "no"),
    ],
)
def test_bad_input_is_named(scores, member, words):
    for function in (metrics.roc_auc, metrics.roc_curve):
        with pytest.raises(ValueError, match=words):
            function(scores, member)


def test_bad_thresholds_and_rates_are_named():
    scores, member = [1.0, 0.0], [True, False]
    with pytest.raises(ValueError, match="NaN"):
        metrics.balanced_accuracy(scores, member, np.nan)
    with pytest.raises(ValueError, match="one for each record"):
        metrics.balanced_accuracy(scores, member, [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"fpr=1\.5"):
        metrics.tpr_at_fpr(scores, member, 1.5)
    with pytest.raises(ValueError, match="no non-member"):
        metrics.smallest_fpr([True])


def test_accuracy_is_a_count():
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(3, 50, 4)), rng.integers(0, 4, 50)
    expected = [oracle.accuracy_score(y, each.argmax(-1)) for each in logits]
    np.testing.assert_allclose(metrics.accuracy(logits, y), expected)
    assert metrics.accuracy(logits[0], y) == pytest.approx(expected[0])
    for bad, labels, words in (
        (logits[0], y[:9], "y has shape"),
        (np.full((2, 2), np.nan), [0, 1], "NaN"),
        (np.zeros(3), [0], "expected"),
        (np.zeros((0, 2)), [], "empty"),
    ):
        with pytest.raises(ValueError, match=words):
            metrics.accuracy(bad, labels)
