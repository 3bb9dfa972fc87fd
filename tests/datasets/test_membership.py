"""Memberships: counted, and keyed by id."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.datasets import balanced, coins, single
from gecko_jax.datasets.hashing import hashes, ranks

DRAWS = {
    "coins": lambda ids, seed: coins(ids, 6, seed, 0.3),
    "balanced": lambda ids, seed: balanced(ids, 6, seed),
    "single": lambda ids, seed: single(ids, seed, max(1, len(ids) // 3)),
}
IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=40, unique=True)


def _naive_splitmix(value, key):
    """The hash in Python's own integers."""

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    return mix(mix((value + 0x9E3779B97F4A7C15) % 2**64) ^ key)


def test_hashes_against_unbounded_integers():
    ids = np.array([0, 1, -1, 2**63 - 1, -(2**63), 12345])
    key = int(np.random.PCG64(np.random.SeedSequence(9, spawn_key=(3,))).random_raw())
    assert hashes(ids, 9, 3).tolist() == [_naive_splitmix(int(i), key) for i in ids]


@pytest.mark.parametrize("draw", DRAWS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(ids=IDS, seed=st.integers(0, 99), data=st.data())
def test_permuting_ids_permutes_columns(draw, ids, seed, data):
    ids = np.array(ids)
    order = np.array(data.draw(st.permutations(range(len(ids)))))
    member = DRAWS[draw](ids, seed)
    assert member.dtype == bool and member.shape[1] == len(ids)
    np.testing.assert_array_equal(DRAWS[draw](ids[order], seed), member[:, order])


@pytest.mark.parametrize("draw", DRAWS)
def test_seeds_differ_and_repeat(draw):
    ids = np.arange(300)
    np.testing.assert_array_equal(DRAWS[draw](ids, 5), DRAWS[draw](ids, 5))
    assert (DRAWS[draw](ids, 5) != DRAWS[draw](ids, 6)).any()


def test_coins_are_fair_and_independent():
    member = coins(np.arange(4000), models=40, seed=1)
    rows, columns = member.mean(1), member.mean(0)
    assert abs(member.mean() - 0.5) < 4 * 0.5 / np.sqrt(member.size)
    assert np.abs(rows - 0.5).max() < 4.5 * 0.5 / np.sqrt(4000)
    # A column's mean over 40 coins has variance .25 / 40, which no balanced design has.
    assert columns.var() == pytest.approx(0.25 / 40, rel=0.1)
    correlations = np.corrcoef(member.astype(float))[np.triu_indices(40, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)
    assert abs((correlations * np.sqrt(4000)).std() - 1) < 0.1


def test_coins_at_other_rates():
    ids = np.arange(5000)
    assert coins(ids, 2, 0, rate=0.1).mean() == pytest.approx(0.1, abs=0.02)
    assert not coins(ids, 1, 0, rate=0).any() and coins(ids, 1, 0, rate=1).all()


def test_adding_models_or_rows_leaves_coins_as_they_were():
    member = coins(np.arange(50), 4, 0)
    np.testing.assert_array_equal(coins(np.arange(80), 9, 0)[:4, :50], member)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(n=st.integers(2, 41), pairs=st.integers(1, 5), seed=st.integers(0, 50))
def test_balanced_design(n, pairs, seed):
    member = balanced(np.arange(n) * 7, 2 * pairs, seed)
    assert (member.sum(0) == pairs).all()
    assert set(member.sum(1).tolist()) <= {n // 2, n - n // 2}
    np.testing.assert_array_equal(member[::2], ~member[1::2])


def test_pairs_of_a_balanced_design_differ():
    member = balanced(np.arange(1000), 8, 0)[::2].astype(float)
    assert np.abs(np.corrcoef(member)[np.triu_indices(4, 1)]).max() < 5 / np.sqrt(1000)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(n=st.integers(1, 40), seed=st.integers(0, 50), data=st.data())
def test_single_has_exactly_size_members_and_nests(n, seed, data):
    size = data.draw(st.integers(1, n))
    member = single(np.arange(n), seed, size)
    assert member.shape == (1, n) and member.sum() == size
    assert (single(np.arange(n), seed, n) >= member).all()


def test_ranks_are_a_uniform_permutation():
    assert sorted(ranks(np.arange(9) * 5, 0, "any")) == list(range(9))
    first = np.array([int(np.argmin(ranks(np.arange(5), 0, "any", i))) for i in range(2000)])
    assert ((np.bincount(first, minlength=5) - 400) ** 2 / 400).sum() < 18.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coins(np.array([3, 4, 3]), 2, 0), "ids must be unique, yet 3"),
        (lambda: balanced(np.array([3, 3]), 2, 0), "ids must be unique, yet 3"),
        (lambda: single(np.array([3, 3]), 0, 1), "ids must be unique, yet 3"),
        (lambda: coins(np.arange(0), 2, 0), "ids is empty"),
        (lambda: coins(np.arange(3.0), 2, 0), "dtype float64"),
        (lambda: coins(np.zeros((2, 2), int), 2, 0), r"ids has shape \(2, 2\)"),
        (lambda: coins(np.arange(3), 0, 0), "models=0"),
        (lambda: coins(np.arange(3), 2, 0, rate=1.5), "rate=1.5"),
        (lambda: balanced(np.arange(3), 3, 0), "models=3 must be even.*Use 4"),
        (lambda: balanced(np.arange(1), 2, 0), r"len\(ids\)=1"),
        (lambda: single(np.arange(3), 0, 4), "size=4"),
        (lambda: single(np.arange(3), 0, 0), "size=0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
