"""Noised words: the noise against its closed form, the outcomes against exact probabilities, the guarantee itself."""

import math
import sys

import numpy as np
import pytest
from scipy import stats

from gecko_jax import privacy
from gecko_jax.privacy import metric_noise as draws_of_noise
from gecko_jax.privacy.metric_noise import metric_noise

MODULE = sys.modules[privacy.word_noise.__module__]  # its name is also that of a function
LINE = np.array([[0.0], [1.0], [1.5], [4.0]])  # a word each: their regions end in the middles


def exact(epsilon):
    """[word, outcome]: on a line the density epsilon/2 exp(-epsilon |z|) is Laplace's."""
    middles = (LINE[1:, 0] + LINE[:-1, 0]) / 2
    below = stats.laplace.cdf(middles[None], loc=LINE, scale=1 / epsilon)
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


@pytest.mark.parametrize("dimensions", [1, 2, 7])
def test_lengths_are_gamma_and_directions_uniform(dimensions):
    draws = np.random.default_rng(dimensions)
    noise = metric_noise(4000, dimensions, 2.5, draws.random)
    lengths = np.linalg.norm(noise, axis=1)
    assert stats.kstest(lengths, stats.gamma(dimensions, scale=1 / 2.5).cdf).pvalue > 1e-3
    unit = noise / lengths[:, None]
    np.testing.assert_allclose(unit.mean(0), 0, atol=4 / math.sqrt(4000))
    np.testing.assert_allclose(unit.T @ unit / 4000, np.eye(dimensions) / dimensions, atol=4 / math.sqrt(4000))
    if dimensions == 2:  # the angle itself, and that it says nothing about the length
        angles = np.arctan2(*noise.T) / (2 * np.pi) + 0.5
        assert stats.kstest(angles, "uniform").pvalue > 1e-3
        assert abs(stats.spearmanr(angles, lengths).statistic) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_outcomes_have_their_exact_probabilities(epsilon):
    mechanism = privacy.word_noise(LINE, epsilon, padding=None)
    tokens = np.repeat(np.arange(4), 5000)
    counts = [np.bincount(row, minlength=4) for row in mechanism.apply(tokens, seed=0).reshape(4, -1)]
    for observed, probabilities in zip(counts, exact(epsilon), strict=True):
        likely = probabilities * 5000 > 5
        expected = np.append(probabilities[likely], probabilities[~likely].sum()) * 5000
        observed = np.append(observed[likely], observed[~likely].sum())
        statistic = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
        assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-4


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_the_guarantee_holds_for_distances_and_not_for_epsilon_alone(epsilon):
    ratios = np.log(exact(epsilon)[:, None] / exact(epsilon)[None]).max(-1)  # [word, word], worst outcome
    distances = np.abs(LINE - LINE.T)
    assert (ratios <= epsilon * distances + 1e-9).all()
    mechanism = privacy.word_noise(LINE, epsilon, padding=None)
    assert ratios.max() <= mechanism.worst_epsilon + 1e-9 and mechanism.worst_epsilon == 4 * epsilon
    assert ratios.max() > epsilon  # the price is for a unit of distance
    assert f"at most {4 * epsilon:.4g} for one token" in str(mechanism) and "unit of distance" in str(mechanism)


def test_each_token_has_noise_of_its_own_and_a_seed_repeats_it():
    rng = np.random.default_rng(0)
    mechanism = privacy.word_noise(rng.normal(size=(40, 6)), 4.0)
    tokens = np.full((50, 20), 7, np.int32)
    tokens[:, 15:] = 0
    once, again, secret = (mechanism.apply(tokens, seed) for seed in (3, 3, None))
    assert once.dtype == np.int32 and (once[:, 15:] == 0).all() and (once[:, :15] != 0).all()
    np.testing.assert_array_equal(once, again)
    assert (once != secret).any() and len(np.unique(once)) > 5
    several = [share.mean() for share in np.split((once[:, :15] == 7).reshape(-1), 10)]
    assert np.std(several) > 0  # not the same outcome everywhere


def test_blocks_do_not_change_what_is_drawn_from(monkeypatch):
    monkeypatch.setattr(MODULE, "ENTRIES_PER_BLOCK", 400)
    mechanism = privacy.word_noise(LINE, 3.0, padding=None)
    noised = mechanism.apply(np.full(4000, 1), seed=1)
    np.testing.assert_allclose(np.bincount(noised, minlength=4) / 4000, exact(3.0)[1], atol=0.04)
    assert (noised[:100] != noised[100:200]).any()  # a block does not repeat another's noise


def test_the_diameter_is_that_of_all_pairs(monkeypatch):
    table = np.random.default_rng(0).normal(size=(50, 3)) + 100
    pairs = np.linalg.norm(table[:, None] - table[None], axis=-1)
    exact_one = privacy.word_noise(table, 1.0, padding=None).diameter
    assert exact_one == pytest.approx(pairs.max(), rel=1e-12)
    assert privacy.word_noise(table, 1.0, candidates=[3, 5]).diameter == pytest.approx(pairs[3, 5], rel=1e-12)
    monkeypatch.setattr(draws_of_noise, "MAX_EXACT", 10)
    assert pairs.max() <= privacy.word_noise(table, 1.0, padding=None).diameter < 2 * pairs.max()


def test_much_noise_and_little():
    table = np.random.default_rng(0).normal(size=(30, 4))
    tokens = np.arange(1, 30)
    np.testing.assert_array_equal(privacy.word_noise(table, 1e6).apply(tokens, seed=0), tokens)
    unlike = privacy.word_noise(table, 1e-3).apply(np.repeat(tokens, 20), seed=0)
    assert (unlike == np.repeat(tokens, 20)).mean() < 0.15


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: privacy.word_noise(LINE, 0.0), "epsilon=0.0"),
        (lambda: privacy.word_noise(LINE, math.nan), "epsilon=nan"),
        (lambda: privacy.word_noise(LINE, math.inf), "epsilon"),
        (lambda: privacy.word_noise(LINE[:, 0], 1.0), "embeddings has shape"),
        (lambda: privacy.word_noise(np.full((3, 2), np.nan), 1.0), "embeddings holds"),
        (lambda: privacy.word_noise(np.ones((3, 2)), 1.0), "are equal"),
        (lambda: privacy.word_noise(LINE, 1.0, candidates=[0, 1]), "holds padding=0"),
        (lambda: privacy.word_noise(LINE, 1.0, candidates=[1, 4]), "candidates must be tokens in 0..3"),
        (lambda: privacy.word_noise(LINE, 1.0, candidates=[]), "candidates is empty"),
        (lambda: privacy.word_noise(LINE, 1.0, candidates=[1, 2]).apply([1, 3]), "not candidates, the first 3"),
        (lambda: privacy.word_noise(LINE, 1.0).apply([1, 9]), "not candidates, the first 9"),
        (lambda: privacy.word_noise(LINE, 1.0).apply([1.0]), "expected integers"),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
