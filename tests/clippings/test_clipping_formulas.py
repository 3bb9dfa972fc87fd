"""Each rule against its formula in Python floats, and what the rules are to each other."""

from __future__ import annotations

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings

NORMS = [0.0, 1e-20, 1e-9, 0.003, 0.1, 0.7, 0.99, 1.0, 1.5, 3.0, 20.0, 1e4, 1e9, 1e20]
BOUNDS = pytest.mark.parametrize("r", [0.01, 1.0, 30.0])


def factors(rule, norms=NORMS):
    return np.asarray(rule.scale(np.asarray(norms, np.float32)[:, None]))[:, 0]


def expect(rule, formula):
    np.testing.assert_allclose(factors(rule), [formula(t) for t in NORMS], rtol=1e-6)
    assert rule.groups == ()


@BOUNDS
def test_flat(r):
    rule = clippings.flat(r)
    expect(rule, lambda t: 1.0 if t == 0 else min(1.0, r / t))
    assert rule.sensitivity == r
    assert (factors(rule)[np.asarray(NORMS) <= r] == 1).all()  # an unclipped gradient is unchanged to the last bit


@BOUNDS
@pytest.mark.parametrize("z", [0.05, 2.0, 50.0])
def test_global(r, z):
    rule = clippings.global_norm(r, z)
    expect(rule, lambda t: r / z if t <= z else 0.0)
    assert rule.sensitivity == r


def test_global_keeps_the_threshold_itself_and_drops_the_next_float():
    z = np.float32(0.1)
    after = np.nextafter(z, np.float32(1))
    np.testing.assert_array_equal(factors(clippings.global_norm(0.1), [z, after]), [1, 0])
    assert clippings.global_norm(0.1) is clippings.global_norm(0.1, 0.1)


@BOUNDS
@pytest.mark.parametrize("gamma", [1e-4, 0.01, 2.0])
def test_automatic_stable(r, gamma):
    expect(clippings.automatic(r, gamma), lambda t: r / (t + gamma))


@BOUNDS
def test_automatic_vanilla(r):
    expect(clippings.automatic(r, variant="vanilla"), lambda t: r / max(t, 1e-12))
    assert clippings.automatic(r, variant="vanilla") is clippings.CLIPPINGS["automatic_vanilla"](r)


@BOUNDS
@pytest.mark.parametrize("small", [0.01, 0.1, 2.0])
def test_psac(r, small):
    rule = clippings.psac(r, small)
    expect(rule, lambda t: r / (t + small / (t + small)))
    # the same, multiplied out
    expect(rule, lambda t: r * (t + small) / (t * t + small * t + small))
    if small < 1:
        top = math.sqrt(small) - small
        np.testing.assert_allclose(factors(rule, [top]), r / (2 * math.sqrt(small) - small), rtol=1e-6)
        assert (factors(rule) <= factors(rule, [top]) * (1 + 1e-6)).all()


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="variant='stabel' is not known. Did you mean 'stable'"):
        clippings.automatic(1.0, variant="stabel")
    with pytest.raises(ValueError, match="gamma=0 must lie"):
        clippings.automatic(1.0, gamma=0)
    with pytest.raises(ValueError, match="r=-1 must lie"):
        clippings.psac(1.0, -1)
    with pytest.raises(ValueError, match="threshold=0 must lie"):
        clippings.global_norm(1.0, 0)


def test_per_layer():
    bounds = {"^Dense_0/": 0.5, "bias$": 3.0, ".": 1.0}
    rule = clippings.per_layer(bounds)
    assert rule.groups == tuple(bounds)  # the order says which holds
    assert rule.sensitivity == pytest.approx(math.sqrt(0.25 + 9 + 1), rel=1e-12)
    norms = np.random.default_rng(0).permutation(np.repeat(NORMS, 3).astype(np.float32)).reshape(-1, 3)
    expected = [[min(1.0, r / max(t, 1e-30)) for t, r in zip(row, bounds.values(), strict=True)] for row in norms]
    np.testing.assert_allclose(rule.scale(norms), expected, rtol=1e-6)
    assert clippings.per_layer(dict(reversed(bounds.items()))) is not rule
    one = clippings.per_layer({".": 0.5})
    np.testing.assert_array_equal(one.scale(norms[:, :1]), clippings.flat(0.5).scale(norms[:, :1]))


@pytest.mark.parametrize("shape", [(), (3,), (4, 1), (4, 3)])
def test_per_layer_wants_a_norm_of_each_group(shape):
    with pytest.raises(ValueError, match="last axis must have length 2"):
        clippings.per_layer({"a": 1.0, "b": 1.0}).scale(jnp.ones(shape))


def test_per_layer_refuses_what_is_no_mapping_of_expressions():
    with pytest.raises(ValueError, match="clip_norms is empty"):
        clippings.per_layer({})
    with pytest.raises(ValueError, match=r"clip_norms=1.0 must map expressions .* layer_budgets"):
        clippings.per_layer(1.0)
    with pytest.raises(ValueError, match=r"'Dense\(', which is not a regular expression"):
        clippings.per_layer({"Dense(": 1.0})
    with pytest.raises(ValueError, match=r"clip_norms\['bias'\]=-1"):
        clippings.per_layer({"kernel": 1.0, "bias": -1})


def test_layer_budgets_share_one_total_and_find_each_parameter_once():
    tree = {
        "Conv_0": {"kernel": 0, "bias": 0},
        "Conv_01": {"kernel": 0},  # whose name begins like another's
        "block": {"scale": 0, "Dense.0": {"kernel": 0, "bias": 0}},  # a layer that holds a layer
        "temperature": 0,  # a parameter of no layer
    }
    budgets = clippings.layer_budgets(tree, 2.0)
    layers = ("Conv_0/kernel Conv_0/bias", "Conv_01/kernel", "block/scale", "block/Dense.0/kernel block/Dense.0/bias")
    actual = {pattern: [] for pattern in budgets}
    for name in " ".join((*layers, "temperature", "block/Dense_0/kernel")).split():
        for pattern in budgets:
            if re.search(pattern, name):
                actual[pattern].append(name)
    assert sorted(" ".join(names) for names in actual.values()) == sorted((*layers, "temperature"))
    assert set(budgets.values()) == {2.0 / math.sqrt(5)}
    assert clippings.per_layer(budgets).sensitivity == pytest.approx(2.0, rel=1e-12)


def test_layer_budgets_refuse_what_are_no_parameters():
    with pytest.raises(ValueError, match="params is empty"):
        clippings.layer_budgets({}, 1.0)
    with pytest.raises(ValueError, match=r'pass variables\["params"\]'):
        clippings.layer_budgets({"params": {"w": 0}}, 1.0)
    with pytest.raises(ValueError, match="clip_norm / sqrt"):
        clippings.layer_budgets({"w": 0}, 0.0)


def test_global_is_flat_clipping_at_z_without_the_examples_over_z_times_r_over_z():
    r, z = 0.4, 1.3
    gradients = np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32)
    norms = np.linalg.norm(gradients, axis=1)
    assert 10 < (norms > z).sum() < 54
    clipped_sum = jnp.einsum("b,bp->p", clippings.global_norm(r, z).scale(norms[:, None])[:, 0], gradients)
    short = gradients[norms <= z]
    flat = clippings.flat(z).scale(norms[norms <= z][:, None])[:, 0]
    np.testing.assert_allclose(clipped_sum, r / z * np.einsum("b,bp->p", flat, short), rtol=1e-5, atol=1e-6)


def test_adaptive_global_is_flat_clipping_at_z_times_r_over_z():
    for z in (0.4, 1.3, 77.0):
        rule = clippings.global_adapt(0.4).at(jnp.float32(z))
        np.testing.assert_allclose(factors(rule), 0.4 / z * factors(clippings.flat(z)), rtol=1e-6)


def test_factors_of_double_precision_norms_are_doubles():
    norms = np.asarray([[0.3], [1 + 1e-12], [1e200]])
    with jax.enable_x64(True):
        scaled = clippings.flat(1.0).scale(norms)
        assert scaled.dtype == np.float64
        np.testing.assert_allclose(scaled, np.minimum(1, 1 / norms), rtol=1e-15)
