"""What every listed rule promises: its bound, its shape, nothing from a gradient that is not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.clippings import CLIPPINGS, flat
from gecko_jax.types import AdaptiveClipping, Clipping

EVERY = pytest.mark.parametrize("name", sorted(CLIPPINGS))
LAYERS = {"kernel": 0.5, "bias": 2.0, "scale": 1e-3}
ROUNDING = 1 + 1e-6


def make(name, clip_norm=0.7):
    return CLIPPINGS[name](LAYERS if name == "per_layer" else clip_norm)


def rule_of(name, threshold=None):
    """The rule, an adaptive one at its first threshold or at the given one."""
    result = make(name)
    return result.at(jnp.float32(result.start if threshold is None else threshold)) if hasattr(result, "at") else result


def spread(name, shape, seed=0):
    groups = max(1, len(rule_of(name).groups))
    return (10 ** np.random.default_rng(seed).uniform(-4, 4, (*shape, groups))).astype(np.float32)


def contribution(norms, factors):
    return np.sqrt(np.sum((np.asarray(factors, np.float64) * np.asarray(norms, np.float64)) ** 2, axis=-1))


@EVERY
def test_it_carries_its_name_and_is_made_once(name):
    result = make(name)
    assert isinstance(result, Clipping | AdaptiveClipping) and result.name == name == rule_of(name).name
    assert make(name) is result  # equal rules share a compiled program
    if name != "per_layer":
        assert CLIPPINGS[name](np.float64(0.7)) is result and CLIPPINGS[name](1) is CLIPPINGS[name](1.0) is not result


@EVERY
def test_one_factor_a_norm_whatever_leads(name):
    scale, norms = rule_of(name).scale, spread(name, (2, 3, 5))
    factors = np.asarray(scale(jnp.asarray(norms)))
    assert factors.shape == norms.shape and factors.dtype == np.float32
    assert (factors >= 0).all() and np.isfinite(factors).all()
    np.testing.assert_array_equal(factors[1, 2, 4], scale(norms[1, 2, 4]))  # NumPy in, no leading axis
    np.testing.assert_allclose(jax.jit(scale)(norms), factors, rtol=3e-7)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(scale)))(norms), factors, rtol=3e-7)
    assert scale(jnp.zeros((0, norms.shape[-1]))).shape == (0, norms.shape[-1])  # an empty batch


@EVERY
def test_a_gradient_that_is_not_finite_gets_nothing_and_disturbs_nobody(name):
    scale, norms = jax.jit(rule_of(name).scale), spread(name, (4,))
    clean = np.asarray(scale(norms))
    norms[0, 0], norms[2, -1] = np.nan, np.inf
    factors = np.asarray(scale(norms))
    assert factors[0, 0] == 0 and factors[2, -1] == 0
    np.testing.assert_array_equal(factors[[1, 3]], clean[[1, 3]])
    assert np.isfinite(factors).all()


@EVERY
def test_zero_and_the_ends_of_float32_keep_the_bound(name):
    rule = rule_of(name)
    groups = max(1, len(rule.groups))
    ends = np.asarray([0, 1e-45, 1e-38, 1e-30, 1e30, np.finfo(np.float32).max], np.float32)
    norms = np.repeat(ends[:, None], groups, 1)
    factors = np.asarray(jax.jit(rule.scale)(norms))
    assert np.isfinite(factors).all() and (contribution(norms, factors) <= rule.sensitivity * ROUNDING).all()
    assert contribution(norms[:1], factors[:1]) == 0


COMPILED = {}


@EVERY
@settings(derandomize=True, deadline=None, max_examples=25)
@given(data=st.data())
def test_no_norm_breaks_the_bound(name, data):
    result = make(name)
    groups = len(LAYERS) if name == "per_layer" else 1
    exponents = st.floats(-30, 30)
    norms = 10.0 ** np.asarray(data.draw(st.lists(st.lists(exponents, min_size=groups, max_size=groups), min_size=8,
                                                  max_size=8)))  # fmt: skip
    threshold = np.float32(10.0 ** data.draw(st.floats(-12, 12)))

    def apply(norms, threshold):
        rule = result.at(threshold) if isinstance(result, AdaptiveClipping) else result
        return rule.scale(norms), jnp.asarray(rule.sensitivity, jnp.float32)

    norms[0] = threshold  # and an adaptive rule's own edge
    norms = norms.astype(np.float32)
    factors, sensitivity = COMPILED.setdefault(name, jax.jit(apply))(norms, threshold)
    assert (contribution(norms, factors) <= float(sensitivity) * ROUNDING).all()


@EVERY
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, 1e-13, 1e13])
def test_a_clip_norm_out_of_range_is_refused_by_name(name, bad):
    with pytest.raises(ValueError, match="clip_norm.*must lie between 1e-12 and"):
        CLIPPINGS[name]({"kernel": bad} if name == "per_layer" else bad)


@EVERY
@pytest.mark.parametrize("clip_norm", [1e-12, 1e12])
def test_the_ends_of_the_range_can_be_built(name, clip_norm):
    CLIPPINGS[name]({"a": clip_norm, "b": 1e-12} if name == "per_layer" else clip_norm)


def test_a_rule_can_be_built_inside_a_traced_function():
    factors = jax.jit(lambda norms: flat(0.123).scale(norms))(jnp.asarray([[0.246], [0.1]]))
    np.testing.assert_allclose(factors, [[0.5], [1.0]], rtol=1e-6)
