"""32-bit multiplication by a real factor, against Python's unbounded integers and gemmlowp's definitions."""

import jax
import numpy as np
import pytest
from naive_graph import divided, high_product, rescaled

from gecko_jax.integer import fixed_point


def test_rescaling_is_gemmlowps_on_random_and_extreme_numbers():
    rng = np.random.default_rng(0)
    edges = np.array([0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30), 65535, -65536, 32768])
    x = np.concatenate([rng.integers(-(2**31), 2**31, 4000), rng.integers(-(2**12), 2**12, 4000), edges])
    multipliers = np.concatenate([rng.integers(2**30, 2**31, 8000), [2**31 - 1] * 5, [2**30] * 5])
    shifts = np.concatenate([rng.integers(-31, 1, 8000), [0, -1, -31, -2, 0] * 2])
    run = jax.jit(lambda x: fixed_point.rescale(x, multipliers.astype(np.int32), shifts.astype(np.int32)))
    expected = [rescaled(*row) for row in zip(x, multipliers, shifts, strict=True)]
    np.testing.assert_array_equal(run(x.astype(np.int32)[None])[0], expected)


def test_a_positive_shift_comes_first():
    x, up = np.arange(-50, 50, dtype=np.int32), np.array([7], np.int32)
    got = fixed_point.rescale(x, np.array([1518500250], np.int32), up)
    np.testing.assert_array_equal(got, [rescaled(each, 1518500250, 7) for each in x])


def test_gemmlowps_rules_of_rounding():
    assert [high_product(a, 2**30) for a in (1, 3, -1, -3)] == [1, 2, 0, -1]  # halves go up, as (ab + nudge) / 2^31 has
    assert [divided(x, 1) for x in (1, -1, 3, -3)] == [1, -1, 2, -2]  # halves go away from zero


@pytest.mark.parametrize("factor", [1e-12, 2.0**-32, 1.5e-3, 0.5, 1 - 2.0**-33, 1.0, 3.7, 2.0**29])
def test_a_multiplier_is_its_factor_to_31_bits(factor):
    multiplier, shift = fixed_point.quantize_multiplier(factor)
    if factor < 2.0**-32:
        assert (multiplier, shift) == (0, 0)
        return
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(factor, rel=2.0**-31, abs=0)


@pytest.mark.parametrize("factor", [-0.5, float("nan"), float("inf"), 2.0**31])
def test_a_factor_that_32_bits_do_not_hold_is_refused(factor):
    with pytest.raises(ValueError, match="factor="):
        fixed_point.quantize_multiplier(factor)
