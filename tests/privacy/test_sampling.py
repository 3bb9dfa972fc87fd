"""Batches against what independent coins must look like, and against SciPy's binomial tails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gecko_jax.privacy import draws
from gecko_jax.privacy import sampling as s


def presence(sampling, batches):
    """bool [steps, n]: who is in which batch."""
    there = np.zeros((len(batches.indices), sampling.n), bool)
    for row, (indices, weight) in enumerate(zip(batches.indices, batches.weight, strict=True)):
        real = indices[weight == 1]
        assert len(set(real.tolist())) == len(real)
        there[row, real] = True
    return there


@pytest.fixture(scope="module")
def coins():
    sampling = s.poisson(40, 8, steps=5000)
    return sampling, presence(sampling, draws.draw(sampling, 3, 0, 5000))


def test_each_example_takes_part_at_the_rate(coins):
    sampling, there = coins
    counts = there.sum(axis=0)
    statistic = ((counts - 5000 * sampling.rate) ** 2 / (5000 * sampling.rate * (1 - sampling.rate))).sum()
    assert 1e-4 < stats.chi2(sampling.n).cdf(statistic) < 1 - 1e-4


def test_batch_sizes_are_binomial(coins):
    sampling, there = coins
    observed = np.bincount(there.sum(axis=1), minlength=sampling.n + 1)
    expected = 5000 * stats.binom(sampling.n, sampling.rate).pmf(np.arange(sampling.n + 1))
    bins = expected > 5
    assert bins.sum() > 12
    together = [np.append(counts[bins], counts[~bins].sum()) for counts in (observed, expected)]
    assert stats.chisquare(*together).pvalue > 1e-4


def test_coins_are_independent_over_examples_and_steps(coins):
    sampling, there = coins
    centered = (there - sampling.rate) / np.sqrt(sampling.rate * (1 - sampling.rate))
    examples = (centered.T @ centered / len(centered))[np.triu_indices(sampling.n, 1)] * np.sqrt(len(centered))
    neighbors = (centered[1:] * centered[:-1]).mean(axis=0) * np.sqrt(len(centered) - 1)
    for correlations in (examples, neighbors):  # each standard normal, nearly
        assert np.abs(correlations).max() < 5
        assert abs((correlations**2).mean() - 1) < 6 * np.sqrt(2 / len(correlations))


def test_truncation_leaves_a_uniform_subset():
    sampling = s.truncated_poisson(30, 6, steps=6000, cap=6)
    there = presence(sampling, draws.draw(sampling, 0, 0, 6000))
    assert there.sum(axis=1).max() == 6
    law = stats.binom(30, 0.2)
    rate = (np.minimum(np.arange(31), 6) * law.pmf(np.arange(31))).sum() / 30
    counts = there.sum(axis=0)
    assert np.abs(counts - 6000 * rate).max() < 4.5 * np.sqrt(6000 * rate * (1 - rate))
    assert abs((there.sum(axis=1) == 6).mean() - law.sf(5)) < 4.5 * np.sqrt(law.sf(5) * law.cdf(5) / 6000)


@pytest.mark.parametrize(
    "n, batch_size, steps", [(60_000, 256, 14_063), (550_152, 32, 54_000), (10, 9.5, 3), (7, 0.01, 1)]
)
def test_slots_are_the_fewest_that_suffice(n, batch_size, steps):
    sampling = s.poisson(n, batch_size, steps)
    above = stats.binom(n, batch_size / n).sf
    assert steps * above(sampling.cap) < 1e-12
    assert sampling.cap == 1 or steps * above(sampling.cap - 1) >= 1e-12


KINDS = {
    "poisson": s.poisson(23, 4, steps=40),
    "truncated_poisson": s.truncated_poisson(23, 4, steps=40, cap=5),
    "shuffled": s.shuffled(23, 4, epochs=7),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(data=st.data())
def test_a_step_is_a_function_of_seed_step_and_name(kind, data):
    sampling = KINDS[kind]
    seed, name = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.sampled_from([0, 7, "shadow"]))
    first = data.draw(st.integers(0, sampling.steps - 1))
    steps = data.draw(st.integers(1, sampling.steps - first))
    run, part = draws.draw(sampling, seed, 0, sampling.steps, name), draws.draw(sampling, seed, first, steps, name)
    assert part.indices.shape == part.weight.shape == (steps, sampling.cap)
    assert (part.indices.dtype, part.weight.dtype) == (np.int32, np.float32)
    for ours, theirs in zip(part, run, strict=True):
        np.testing.assert_array_equal(ours, theirs[first : first + steps])
    assert (np.diff(part.weight, axis=1) <= 0).all()  # real rows first
    assert not part.indices[part.weight == 0].any() and part.indices.max() < sampling.n
    other = draws.draw(sampling, seed, 0, sampling.steps, "another")
    assert (other.indices != run.indices).any()


def test_an_empty_batch_is_padding():
    batches = draws.draw(s.poisson(1000, 0.01, steps=20), 0, 0, 20)
    assert batches.weight.shape == (20, s.poisson(1000, 0.01, 20).cap)
    assert (batches.weight.sum(axis=1) == 0).any()


def test_shuffled_shows_all_once_an_epoch_in_a_new_order():
    sampling = s.shuffled(23, 4, epochs=3)
    assert (sampling.steps, sampling.cap, sampling.epochs, sampling.rate) == (18, 4, 3, 4 / 23)
    batches = draws.draw(sampling, 0, 0, 18)
    orders = [batches.indices[e : e + 6][batches.weight[e : e + 6] == 1].tolist() for e in (0, 6, 12)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_poisson_batch_is_never_cut_short():
    with pytest.raises(RuntimeError, match="never cut short"):
        draws.draw_unchecked(s.poisson(100, 50, steps=10)._replace(cap=40), 0, 0, 10)


def test_a_cap_that_overflows_is_refused_with_the_one_that_does_not():
    needed = s.poisson(60_000, 256, 14_063).cap
    assert s.poisson(60_000, 256, 14_063, cap=needed + 1).cap == needed + 1
    with pytest.raises(ValueError, match=f"cap={needed - 1} must be at least {needed}.*truncated_poisson"):
        s.poisson(60_000, 256, 14_063, cap=needed - 1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: s.poisson(0, 1, 1), "n=0"),
        (lambda: s.poisson(2**31, 1, 1), "n=2147483648"),
        (lambda: s.poisson(10.0, 1, 1), "n=10.0 must be an integer"),
        (lambda: s.poisson(10, 0, 1), "batch_size=0"),
        (lambda: s.poisson(10, 11, 1), "batch_size=11 must be at most n=10"),
        (lambda: s.poisson(10, 5, 0), "steps=0"),
        (lambda: s.truncated_poisson(10, 5, 1, cap=0), "cap=0"),
        (lambda: s.shuffled(10, 2.5, 1), "batch_size=2.5 must be an integer"),
        (lambda: s.shuffled(10, 2, 0), "epochs=0"),
        (lambda: draws.draw(s.poisson(10, 5, 3), 0, 2, 2), "beyond the run's 3 steps"),
        (lambda: draws.draw(s.poisson(10, 5, 3), 0, -1, 2), "first_step=-1"),
        (lambda: draws.draw(s.poisson(10, 5, 3), -1, 0, 2), "seed=-1"),
        (lambda: draws.draw(s.poisson(10, 5, 3)._replace(kind="poison"), 0, 0, 1), "Did you mean 'poisson'"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_record_says_what_it_is():
    assert str(KINDS["truncated_poisson"]) == "Poisson sampling at rate 4/23, truncated at 5, 40 steps"
    assert str(KINDS["shuffled"]).startswith("shuffled batches of 4 from 23, 7 epochs")
