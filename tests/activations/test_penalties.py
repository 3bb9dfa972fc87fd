"""What every listed range penalty promises, and each against NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.activations import PENALTIES, RangePenalty

EVERY = pytest.mark.parametrize("name", sorted(PENALTIES))
Z = np.random.default_rng(0).normal(scale=3, size=(4, 5)).astype(np.float32)
NAIVE = {
    "extremes": lambda z, r, p: max(z.max() - r, 0) + max(-r - z.min(), 0),
    "outside": lambda z, r, p: np.mean([max(abs(each) - r, 0) for each in z.ravel()]),
    "pillar": lambda z, r, p: np.mean((np.abs(z) / r) ** p),
}


@EVERY
def test_it_is_its_formula_and_keeps_its_settings(name):
    penalty = PENALTIES[name](bound=2.5)
    assert isinstance(penalty, RangePenalty) and penalty.name == name and penalty.bound == 2.5
    assert (penalty.power is not None) == ("power" in inspect.signature(PENALTIES[name]).parameters)
    for power in {penalty.power, 4.0}:
        expected = NAIVE[name](Z.astype(np.float64), 2.5, power)
        np.testing.assert_allclose(penalty.apply(jnp.asarray(Z), power), expected, rtol=1e-5)


@EVERY
def test_it_pushes_inwards_and_is_small_inside(name):
    penalty = PENALTIES[name](bound=2.0)
    slope = jax.grad(lambda z: penalty.apply(z, penalty.power))
    outside, inside = jnp.array([-5.0, 5.0]), jnp.array([-0.5, 0.0, 0.5])
    assert (np.sign(slope(outside)) == [-1, 1]).all()
    assert np.isfinite(slope(inside)).all() and float(penalty.apply(inside, penalty.power)) < 1e-5
    assert float(penalty.apply(outside, penalty.power)) > 1


@EVERY
@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf])
def test_a_bound_that_is_not_above_zero_is_refused(name, bound):
    with pytest.raises(ValueError, match="bound=.* must be a finite number above 0"):
        PENALTIES[name](bound)


def test_a_power_without_a_slope_at_zero_is_refused():
    with pytest.raises(ValueError, match="power=1.0 must be above 1"):
        PENALTIES["pillar"](power=1.0)
