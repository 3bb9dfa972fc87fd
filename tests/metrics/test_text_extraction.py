"""Extraction: real greedy and sampled decoding of a table of next tokens, loops, and exact complements."""

from __future__ import annotations

import fractions
import math

import numpy as np
import pytest
from scipy import special, stats

from gecko_jax import metrics

VOCABULARY, PROMPT, LENGTH = 5, 2, 4
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(VOCABULARY, VOCABULARY, VOCABULARY)) * 1.5  # logits of the next token after the last two
CHANCES = special.softmax(TABLE, -1)


def decoded(prompt, choose):
    """A continuation, one token at a time."""
    tokens = list(prompt)
    for _ in range(LENGTH):
        tokens.append(choose(CHANCES[tokens[-2], tokens[-1]]))
    return tokens


def inputs():
    """60 texts, a third of them what greedy decoding gives; y [n, t] without its prompt; logits of the true tokens."""
    texts = [[int(token) for token in RNG.integers(0, VOCABULARY, PROMPT + LENGTH)] for _ in range(60)]
    texts = np.array([decoded(text[:PROMPT], np.argmax) if i % 3 == 0 else text for i, text in enumerate(texts)])
    y = np.where(np.arange(PROMPT + LENGTH) < PROMPT, -1, texts)
    logits = np.zeros((*texts.shape, VOCABULARY))
    for place in range(PROMPT, PROMPT + LENGTH):
        logits[:, place] = TABLE[texts[:, place - 2], texts[:, place - 1]]
    return texts, y, logits


TEXTS, Y, LOGITS = inputs()
LOSSES = -np.take_along_axis(special.log_softmax(LOGITS, -1), TEXTS[..., None], -1)[..., 0]


def test_one_forward_pass_shows_what_greedy_decoding_gives():
    generated = np.array([decoded(text[:PROMPT], np.argmax) for text in TEXTS])
    forced = metrics.greedy_tokens(LOGITS)
    expected = []
    for made, text in zip(generated, TEXTS, strict=True):
        same = [a == b for a, b in zip(made[PROMPT:], text[PROMPT:], strict=True)]
        expected.append(same.index(False) if False in same else LENGTH)
    assert 20 <= sum(count == LENGTH for count in expected) < 60 and len(set(expected)) > 3
    for tokens in (generated, forced):
        assert metrics.matched_tokens(tokens, Y).tolist() == expected
        assert metrics.is_extracted(tokens, Y).tolist() == [count == LENGTH for count in expected]
    assert (generated != forced)[:, PROMPT:].any()  # after a wrong token the two differ, and nothing reads them there
    both = metrics.matched_tokens(np.stack([generated, TEXTS]), Y)
    assert both.tolist() == [expected, [LENGTH] * 60]


def test_sampling_gives_the_closed_form():
    rng, draws = np.random.default_rng(1), 2000

    def draw(chances):
        return int(np.searchsorted(chances.cumsum(), rng.random()))

    for row in (0, 1, 3):
        samples = np.array([decoded(TEXTS[row][:PROMPT], draw) for _ in range(draws)])
        hits = metrics.is_extracted(samples[:, None], Y[row][None]).sum()
        p = float(metrics.sampled_extraction(LOSSES, Y)[row])
        assert stats.binomtest(int(hits), draws, p).pvalue > 1e-3
    several = metrics.sampled_extraction(LOSSES, Y, draws=7)
    exact = [float(1 - (1 - fractions.Fraction(p)) ** 7) for p in metrics.sampled_extraction(LOSSES, Y)]
    np.testing.assert_allclose(several, exact, rtol=1e-12)


def test_small_and_certain_chances_are_exact():
    p = fractions.Fraction(1, 2**80)
    expected = float(1 - (1 - p) ** 1000)
    assert metrics.sampled_extraction([[80 * math.log(2)]], [[1]], 1000)[0] == pytest.approx(expected, rel=1e-12)
    assert metrics.sampled_extraction([[0.0, math.inf], [0.0, 99.0]], [[1, 1], [1, -1]], 3).tolist() == [0.0, 1.0]


def test_rates_have_exact_intervals():
    extracted, repetitions = np.array([1, 1, 0, 0, 1, 0], bool), np.array([25, 25, 0, 0, 1, 1])
    rates = metrics.extraction_rates(extracted, repetitions)
    assert list(rates) == [0, 1, 25] and all(isinstance(key, int) for key in rates)
    for repeated, rate in rates.items():
        hits = extracted[repetitions == repeated]
        interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
        np.testing.assert_allclose(rate[:3], [hits.mean(), *interval], rtol=1e-9)
        assert rate.n == 2
    assert metrics.extraction_rate(extracted).value == 0.5


def test_eidetic_counts_are_the_loop():
    rng = np.random.default_rng(2)
    extracted, documents = rng.random(50) < 0.4, rng.integers(0, 30, 50)
    for count in metrics.eidetic_counts(extracted, documents):
        chosen = [bool(hit) for hit, number in zip(extracted, documents, strict=True) if 1 <= number <= count.k]
        assert (count.extracted, count.texts) == (sum(chosen), len(chosen))
        assert count.rate is None if not chosen else count.rate.value == sum(chosen) / len(chosen)
    assert [count.k for count in metrics.eidetic_counts(extracted, documents)] == [1, 2, 5, 10, 25]
    assert metrics.eidetic_counts([True], [7], k=(1,)) == ((1, 0, 0, None),)


def test_documents_are_counted_once_each():
    documents = ["the number is 1 2", "1 2 and 1 2", "12"]
    assert metrics.count_documents(["1 2", "12", "3"], documents).tolist() == [2, 1, 0]


def test_bad_text_input_is_named():
    y = np.array([[-1, 2, 3]])
    for call, words in (
        (lambda: metrics.greedy_tokens([[0.0, 1.0]]), "logits has shape"),
        (lambda: metrics.greedy_tokens([[[math.nan, 1.0]]]), "logits holds NaN"),
        (lambda: metrics.is_extracted([[2, 3]], y), r"generated has shape \(1, 2\); expected \(..., 1, 3\)"),
        (lambda: metrics.is_extracted([[1.0, 2.0, 3.0]], y), "generated has dtype float64"),
        (lambda: metrics.matched_tokens([[1, 2, 3]], [[-1, -1, -1]]), r"y\[0\] has no token that counts"),
        (lambda: metrics.sampled_extraction([[1.0, 1.0, 1.0]], [[-1, -1, -1]]), r"y\[0\] has no token that counts"),
        (lambda: metrics.sampled_extraction([[1.0, 1.0, 1.0]], y, 0), "draws=0 must be at least 1"),
        (lambda: metrics.extraction_rate([]), "extracted is empty"),
        (lambda: metrics.extraction_rate([0.5]), "extracted has"),
        (lambda: metrics.extraction_rates([True], [1, 2]), "group has shape"),
        (lambda: metrics.eidetic_counts([True], [-1]), "from -1; expected integers"),
        (lambda: metrics.eidetic_counts([True], [1], k=(0,)), r"k=\(0,\) must hold integers of at least 1"),
        (lambda: metrics.count_documents("secret", ["a"]), "texts is one text"),
        (lambda: metrics.count_documents(["a", ""], ["a"]), r"texts\[1\] is empty"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
