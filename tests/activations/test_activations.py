"""What every listed activation promises, and each against its formula."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.activations import ACTIVATIONS, Quadratic

EVERY = pytest.mark.parametrize("name", sorted(ACTIVATIONS))
X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
START = {"relu": np.maximum(X, 0), "square": X**2, "identity": X, "quadratic": X, "quadratic_channel": X}


def module_of(name, x=X):
    module = ACTIVATIONS[name]()
    return module, module.init(jax.random.key(0), jnp.asarray(x))


@EVERY
def test_it_starts_as_its_formula_says(name):
    module, variables = module_of(name)
    assert isinstance(module, nn.Module)
    np.testing.assert_allclose(module.apply(variables, jnp.asarray(X)), START[name], rtol=1e-6)


@EVERY
def test_shapes_dtypes_and_gradients(name):
    module, variables = module_of(name)
    for shape in ((2, 3), (2, 4, 4, 3), (3,)):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        out = jax.eval_shape(module.apply, variables, x)
        assert (out.shape, out.dtype) == (shape, jnp.float32)
    zeros = jnp.zeros((2, 3))
    assert np.isfinite(jax.grad(lambda x: module.apply(variables, x).sum())(zeros)).all()


@EVERY
def test_each_example_for_itself(name):
    module, variables = module_of(name)
    apart = jax.vmap(lambda x: module.apply(variables, x))(jnp.asarray(X))
    np.testing.assert_allclose(apart, module.apply(variables, jnp.asarray(X)), rtol=1e-6)


@EVERY
def test_what_says_that_it_never_falls_never_falls(name):
    module, variables = module_of(name)
    if getattr(module, "monotone", False):
        assert not variables.get("params")  # a trained one may come to fall
        rising = np.sort(X.ravel())[:, None]
        assert (np.diff(module.apply({}, jnp.asarray(rising)), axis=0) >= 0).all()


@EVERY
def test_it_is_trained_only_by_what_it_names(name):
    _, variables = module_of(name)
    trained = {} if "quadratic" not in name else {"a": (3,) if "channel" in name else (1,)}
    trained.update({"b": trained["a"]} if trained else {})
    assert jax.tree.map(jnp.shape, dict(variables.get("params", {}))) == trained


def quadratic(a, b, r, granularity="channel"):
    variables = {"params": {"a": jnp.asarray(a), "b": jnp.asarray(b)}, "transition": {"r": jnp.asarray(r)}}
    return np.asarray(Quadratic(granularity).apply(variables, jnp.asarray(X)))


A, B = np.float32([0.5, -1.0, 2.0]), np.float32([1.0, 0.25, -3.0])
POLYNOMIAL = np.stack([A[c] * X[..., c] ** 2 + B[c] * X[..., c] for c in range(3)], axis=-1)


def test_during_the_transition_it_lies_between_relu_and_the_polynomial():
    np.testing.assert_array_equal(quadratic(A, B, 0.0), np.maximum(X, 0))
    np.testing.assert_allclose(quadratic(A, B, 1.0), POLYNOMIAL, rtol=1e-5, atol=1e-6)
    between = 0.3 * POLYNOMIAL.astype(np.float64) + 0.7 * np.maximum(X, 0)
    np.testing.assert_allclose(quadratic(A, B, 0.3), between, rtol=1e-5, atol=1e-6)


def test_one_pair_a_layer():
    np.testing.assert_allclose(quadratic([0.5], [1.5], 1.0, "layer"), 0.5 * X**2 + 1.5 * X, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_the_quadratic_term_can_leave_zero(granularity):
    """dL/da = sum r x^2, not 0 at a = 0: with (a x)^2 in its place it would be, and the activation stay linear."""
    module = Quadratic(granularity)
    variables = module.init(jax.random.key(0), jnp.asarray(X))
    assert float(variables["transition"]["r"]) == 1

    def loss(params, r):
        return module.apply({"params": params, "transition": {"r": r}}, jnp.asarray(X)).sum()

    for r in (1.0, 0.25):
        slopes = jax.grad(loss)(variables["params"], r)
        kept = (0, 1, 2) if granularity == "layer" else (0, 1)
        np.testing.assert_allclose(slopes["a"].ravel(), r * (X**2).sum(kept).ravel(), rtol=1e-5)
        np.testing.assert_allclose(slopes["b"].ravel(), r * X.sum(kept).ravel(), rtol=1e-4, atol=1e-5)
    assert not jax.tree.leaves(jax.grad(loss)(variables["params"], 0.0))[0].any()  # not before the transition starts


def test_another_granularity_is_named():
    with pytest.raises(ValueError, match="granularity='chanel' .*Did you mean 'channel'"):
        Quadratic("chanel").init(jax.random.key(0), jnp.ones((1, 2)))
