"""ReLU with bounds: the values up to a bound, nothing beyond, and a slope by which a bound is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.activations import BoundedRelu

X = np.random.default_rng(0).normal(scale=3, size=(6, 4, 2)).astype(np.float32)


@pytest.mark.parametrize("granularity, shape", [("layer", (1,)), ("channel", (2,)), ("neuron", (4, 2))])
def test_a_value_beyond_its_bound_becomes_zero(granularity, shape):
    bound = np.random.default_rng(1).uniform(0.5, 3, shape).astype(np.float32)
    module = BoundedRelu(granularity)
    assert module.init(jax.random.key(0), X)["params"]["bound"].shape == shape
    y = module.apply({"params": {"bound": bound}}, X)
    np.testing.assert_allclose(y, np.where((X > 0) & (bound >= X), X, 0), atol=1e-6)


def test_a_fault_s_infinity_becomes_zero():
    x = np.float32([[np.inf, np.nan], [-np.inf, 3e38]])
    np.testing.assert_array_equal(BoundedRelu().apply({"params": {"bound": np.float32([1, 2])}}, x), np.zeros((2, 2)))


def test_the_gradient_is_that_of_the_sigmoid():
    x, bound = jnp.array([[0.5, 1.9, 2.1, -1.0]]), jnp.full(4, 2.0)

    def smooth(bound, x):
        return jnp.maximum(x, 0) * jax.nn.sigmoid(20 * (1 - x / bound[None]))

    def module(bound, x):
        return BoundedRelu().apply({"params": {"bound": bound}}, x)

    for argument in (0, 1):
        slopes, expected = (jax.grad(lambda *a, f=f: f(*a).sum(), argument)(bound, x) for f in (module, smooth))
        np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [dict(granularity="pixel"), dict(slope=0.0), dict(start=-1.0)])
def test_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        BoundedRelu(**settings).init(jax.random.key(0), X)
