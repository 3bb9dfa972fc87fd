"""Perplexity: a loop over tokens in float64, padding that never counts, and an interval that covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from gecko_jax import metrics, signals

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 7, 11)) * 3
Y = RNG.integers(0, 11, (5, 7))
Y[RNG.random((5, 7)) < 0.4] = -1
Y[:, 0] = 3
SIZES = RNG.integers(1, 5, (5, 7))
LOSSES = signals.token_losses(LOGITS, Y)


def by_hand(logits, y, sizes=None):
    """exp(total / units), one token at a time."""
    total, units = 0.0, 0
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            if y[i, j] >= 0:
                total -= special.log_softmax(logits[i, j])[y[i, j]]
                units += 1 if sizes is None else int(sizes[i, j])
    return math.exp(total / units)


def test_it_is_the_loop_over_tokens():
    expected = [by_hand(logits, Y) for logits in LOGITS]
    np.testing.assert_allclose(metrics.perplexity(LOSSES, Y), expected, rtol=1e-12)
    assert metrics.perplexity(LOSSES[0], Y) == pytest.approx(expected[0], rel=1e-12)
    per_byte = [by_hand(logits, Y, SIZES) for logits in LOGITS]
    np.testing.assert_allclose(metrics.byte_perplexity(LOSSES, Y, SIZES), per_byte, rtol=1e-12)
    of_rows = np.where(Y >= 0, SIZES, 0).sum(1)
    np.testing.assert_allclose(metrics.byte_perplexity(LOSSES, Y, of_rows), per_byte, rtol=1e-12)
    np.testing.assert_allclose(metrics.bits_per_byte(LOSSES, Y, SIZES), np.log2(per_byte), rtol=1e-12)


def test_padding_never_counts():
    wide = np.pad(Y, [(0, 0), (0, 4)], constant_values=-1)
    losses = np.pad(LOSSES[0], [(0, 0), (0, 4)], constant_values=np.nan)
    losses[wide < 0] = np.nan
    sizes = np.pad(SIZES, [(0, 0), (0, 4)], constant_values=9)
    assert metrics.perplexity(losses, wide) == metrics.perplexity(LOSSES[0], Y)
    assert metrics.byte_perplexity(losses, wide, sizes) == metrics.byte_perplexity(LOSSES[0], Y, SIZES)
    assert metrics.perplexity_interval(losses, wide) == metrics.perplexity_interval(LOSSES[0], Y)
    empty_row = np.concatenate([wide, np.full((1, 11), -1)])
    losses = np.concatenate([losses, np.ones((1, 11))])
    assert metrics.perplexity(losses, empty_row) == metrics.perplexity(LOSSES[0], Y)
    assert metrics.perplexity_interval(losses, empty_row) == metrics.perplexity_interval(LOSSES[0], Y)


def test_a_short_row_weighs_by_its_tokens():
    losses, y = np.array([[1.0, 1.0, 1.0], [5.0, 0.0, 0.0]]), np.array([[2, 2, 2], [2, -1, -1]])
    assert metrics.perplexity(losses, y) == pytest.approx(math.exp(8 / 4))  # a mean of rows would be exp(3)


def test_tokenizers_meet_per_byte():
    """A text of equally likely letters, read letter by letter or two at a time, has the same bits per byte."""
    letters = np.full((1, 8), math.log(26))
    pairs = np.full((1, 4), 2 * math.log(26))
    one = metrics.bits_per_byte(letters, np.ones((1, 8), int), [8])
    two = metrics.bits_per_byte(pairs, np.ones((1, 4), int), np.full((1, 4), 2))
    assert one == pytest.approx(math.log2(26)) == two
    assert metrics.perplexity(pairs, np.ones((1, 4), int)) == pytest.approx(26**2)


@pytest.mark.parametrize("sizes", [None, SIZES], ids=["tokens", "bytes"])
def test_the_interval_is_the_ratios_by_groups(sizes):
    group = np.array(["a", "b", "a", "c", "b"])
    estimate = metrics.perplexity_interval(LOSSES[1], Y, group, sizes, confidence=0.9)
    units = np.where(Y >= 0, 1 if sizes is None else sizes, 0)
    sums = {g: (LOSSES[1][group == g].sum(), units[group == g].sum()) for g in "abc"}
    total, count = (sum(pair[i] for pair in sums.values()) for i in (0, 1))
    spread = sum((pair[0] - total / count * pair[1]) ** 2 for pair in sums.values())
    half = stats.t(2).ppf(0.95) * math.sqrt(3 / 2 * spread) / count
    ends = [math.exp(total / count + side) for side in (-half, half)]
    np.testing.assert_allclose(estimate[:3], [math.exp(total / count), *ends], rtol=1e-12)
    assert estimate.n == 3 and estimate.kind == "measured"


def test_the_interval_covers_what_rows_alone_do_not():
    """Documents of 10 rows with a level of their own: the truth lies in 95 of 100 intervals by document."""
    rng, documents = np.random.default_rng(1), np.repeat(np.arange(20), 10)
    y = np.ones((200, 4), int)
    truth, covered, naive = math.exp(2.0), 0, 0
    for _ in range(400):
        losses = 2 + np.clip(rng.normal(0, 0.3, 20), -1.5, 1.5)[documents][:, None] + rng.uniform(-0.4, 0.4, (200, 4))
        by_document = metrics.perplexity_interval(losses, y, documents)
        by_row = metrics.perplexity_interval(losses, y)
        covered += by_document.low <= truth <= by_document.high
        naive += by_row.low <= truth <= by_row.high
    assert 0.92 < covered / 400 < 0.98 and naive / 400 < 0.7


def test_an_impossible_token_makes_it_infinite():
    losses = np.array([[1.0, math.inf]])
    assert metrics.perplexity(losses, [[1, 1]]) == math.inf
    estimate = metrics.perplexity_interval(np.repeat(losses, 3, 0), np.ones((3, 2), int))
    assert estimate.value == math.inf and estimate.low is None
    assert metrics.perplexity(losses, [[1, -1]]) == pytest.approx(math.e)


def test_one_document_has_no_interval():
    assert metrics.perplexity_interval(LOSSES[0], Y, np.zeros(5, int))[1:3] == (None, None)


def test_a_ratio_is_refused_where_it_says_nothing():
    for sums, units, words in (
        ([], [], "sums is empty"),
        ([1.0], [1.0, 2.0], "units has shape"),
        ([math.nan], [1.0], "sums is NaN at index 0"),
        ([1.0], [-1.0], "units run from -1.0 to -1.0"),
        ([1.0], [0.0], "units run from 0.0 to 0.0"),
        ([1.0], [math.inf], "units holds 1 entry"),
    ):
        with pytest.raises(ValueError, match=words):
            metrics.ratio_interval(sums, units)


def test_bad_input_is_named():
    one = np.ones((1, 2), int)
    for call, words in (
        (lambda: metrics.perplexity([1.0], [[1]]), r"losses has shape \(1,\); expected \(..., 1, 1\)"),
        (lambda: metrics.perplexity([[1.0, 2.0]], [1, 2]), "y has shape"),
        (lambda: metrics.perplexity([[1.0, 2.0]], [[1.0, 2.0]]), "y has dtype float64"),
        (lambda: metrics.perplexity([["a", "b"]], one), "losses has dtype"),
        (lambda: metrics.perplexity([[1.0, math.nan]], one), r"losses is NaN at index \(0, 1\)"),
        (lambda: metrics.perplexity([[-1.0, -2.0]], one), "runs down to -2; .* Negate log probabilities"),
        (lambda: metrics.perplexity([[1.0, 2.0]], [[-1, -1]]), "negative tokens alone"),
        (lambda: metrics.perplexity(np.zeros((0, 2)), np.zeros((0, 2), int)), "y is empty"),
        (lambda: metrics.perplexity(np.ma.array([[1.0, 2.0]], mask=[[0, 1]]), one), "losses hides 1 entry"),
        (lambda: metrics.byte_perplexity([[1.0, 2.0]], one, [[1]]), "byte_counts has shape"),
        (lambda: metrics.byte_perplexity([[1.0, 2.0]], one, [[1, -2]]), "from -2; expected integers"),
        (lambda: metrics.bits_per_byte([[1.0, 2.0]], one, [2.5]), "dtype float64"),
        (lambda: metrics.bits_per_byte([[1.0, 2.0]], one, [0]), "byte_counts is 0 for every token"),
        (lambda: metrics.perplexity_interval(LOSSES, Y), "one model at a time"),
        (lambda: metrics.perplexity_interval(LOSSES[0], Y, [1, 2]), "group has shape"),
        (lambda: metrics.perplexity_interval(LOSSES[0], Y, confidence=95), "confidence=95"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
