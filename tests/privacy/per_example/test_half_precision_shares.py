"""In half precision, too, no example adds more than the sensitivity, by any rule: norms and sums are of float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from test_clipped_properties import HALF_CANCELED, B, all_contributions, check_sensitivity, lengths_of_shares, sizes_of


@settings(derandomize=True, deadline=None, max_examples=50)
@given(sizes_of(20))
@example(HALF_CANCELED)
def test_no_example_adds_more_in_bfloat16(sizes):
    check_sensitivity(all_contributions("bfloat16"), sizes, "bfloat16")


@settings(derandomize=True, deadline=None, max_examples=50)
@given(sizes_of(5))  # 65,504 is the largest number, and what is below 3e-8 is 0
@example(((2.0, 2.0, -2.0, 1.0), (2.0, 2.0, 2.0, 2.0), (-3.0, 2.0, 4.0, 4.0), (0.0, -2.5, -2.0, -1.5)))
def test_no_example_adds_more_in_float16(sizes):
    check_sensitivity(all_contributions("float16"), sizes, "float16")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_shares_in_half_precision_reach_the_sensitivity(dtype):
    """A bound that no share comes near would say nothing: the norms of rounded gradients are those of float32."""
    lengths = lengths_of_shares(all_contributions(dtype), [[1.0] * B] * 3 + [[0.0] * B], dtype)
    for name in ("flat", "automatic_vanilla", "quantile"):
        sensitivity, shares = lengths[name]
        np.testing.assert_allclose(shares[0], sensitivity, rtol=3e-6)  # its terms do not cancel
