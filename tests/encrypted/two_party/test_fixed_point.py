"""Numbers of the ring, and truncation: what it rounds to, and how often it fails."""

import numpy as np
import pytest
from scipy.stats import binomtest

from gecko_jax.encrypted.two_party.fixed_point import decode, encode, failure_probability, truncate, uniform

DRAWS = 20_000


def truncated(value, bits, seed=0):
    """The two parties' truncations of one number under many masks, as signed integers."""
    client = uniform(np.random.default_rng(seed), (DRAWS,))
    server = np.full(DRAWS, value).astype(np.int64).view(np.uint64) - client
    return (truncate(client, bits, 0) + truncate(server, bits, 1)).view(np.int64)


@pytest.mark.parametrize("bits", [1, 13, 24])
def test_encoding_rounds_to_the_nearest(bits):
    values = np.random.default_rng(0).normal(size=1000) * 100
    assert np.abs(decode(encode("x", values, bits), bits) - values).max() <= 2.0 ** -(bits + 1)


def test_what_the_ring_cannot_hold_is_refused():
    assert decode(encode("x", [2.0**48], 13), 13)[0] == 2.0**48
    with pytest.raises(ValueError, match="x holds 5.63e\\+14, and a number of 64 bits .* below 5.63e\\+14"):
        encode("x", [-(2.0**49)], 13)
    with pytest.raises(ValueError, match="x holds 1 entry that is NaN"):
        encode("x", [0.0, np.nan], 13)


@pytest.mark.parametrize("value", [0, 1, 8191, 8192, 123_456_789, -1, -8192, -123_456_789])
def test_truncation_rounds_up_or_down_and_not_to_one_side(value):
    results, exact = truncated(value, 13), value / 2**13
    assert set(results) <= {np.floor(exact), np.ceil(exact)}
    assert abs(results.mean() - exact) <= 4 * 0.5 / np.sqrt(DRAWS)  # unbiased: the chance of rounding up is the rest


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("power", [62, 61, 59])
def test_truncation_fails_as_often_as_its_formula_says(sign, power):
    results, exact = truncated(sign * 2**power, 13), sign * 2.0 ** (power - 13)
    wrong = np.abs(results - exact) > 1
    # The bound allows two signs for a magnitude below 2^power; a number of one sign wraps half as often.
    bound = failure_probability(2.0**power / 2**26, 26)
    assert bound == 2.0 ** (power + 1 - 64)
    assert binomtest(int(wrong.sum()), DRAWS, bound / 2).pvalue > 1e-4
    assert set(np.abs(np.abs(results[wrong] - exact) - 2.0**51)) <= {0, 1}  # off by 2^(64 - 13), never by little


def test_the_bound_adds_up_and_stops_at_one():
    assert failure_probability(3 * 2.0**5, 26) == 3 * 2.0 ** (5 + 26 + 1 - 64)
    assert failure_probability(1e300, 26) == 1
