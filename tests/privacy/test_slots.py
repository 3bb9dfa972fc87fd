"""How many slots batches are computed in, against sums over the binomial distribution."""

import numpy as np
import pytest
from scipy import stats

from gecko_jax import privacy
from gecko_jax.privacy.slots import expected_slots, slot_sizes


@pytest.mark.parametrize(
    "sampling, sizes",
    [
        (privacy.poisson(60_000, 256, 14_063), (256, 272, 288, 304, 320, 399)),
        (privacy.poisson(60_000, 32, 1000), (32, 40, 48, 56, 83)),
        (privacy.truncated_poisson(60_000, 256, 1000, cap=288), (256, 272, 288)),
        (privacy.poisson(40, 40, 10), (40,)),  # all in every batch
        (privacy.shuffled(1000, 300, epochs=2), (300,)),
    ],
)
def test_sizes_are_the_mean_and_four_deviations(sampling, sizes):
    assert slot_sizes(sampling)[:-1] == sizes[:-1] and slot_sizes(sampling)[-1] == sampling.cap
    assert len(slot_sizes(sampling)) == len(sizes)


@pytest.mark.parametrize("batches", [1, 8])
def test_expected_slots_are_the_mean_over_the_largest_batch(batches):
    sampling = privacy.poisson(1000, 50, 100)
    sizes = slot_sizes(sampling)
    counts = np.arange(sampling.n + 1)
    largest = np.diff(np.concatenate([[0], stats.binom.cdf(counts, 1000, 0.05) ** batches]))
    needed = [next((size for size in sizes if size >= count), sizes[-1]) for count in counts]
    assert expected_slots(sampling, sizes, batches) == pytest.approx(float(largest @ needed), rel=1e-9)


def test_a_record_that_is_not_valid_is_refused():
    with pytest.raises(ValueError, match="sampling.cap=256 must be at least"):
        slot_sizes(privacy.poisson(60_000, 256, 14_063)._replace(cap=256))
