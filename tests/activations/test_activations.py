"""What every listed activation promises, and each against its formula."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from gecko_jax import activations
from gecko_jax.activations import ACTIVATIONS, Activation, Polynomial, Quadratic

EVERY = pytest.mark.parametrize("name", sorted(ACTIVATIONS))
X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)


def least_squares(f):
    """A quadratic on -4..4 by NumPy's weighted fit at the nodes of a Gauss quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return np.polynomial.Polynomial.fit(4 * nodes, f(4 * nodes), 2, w=np.sqrt(weights))(X.astype(np.float64))


HERMITE = (0.5 * X + (X**2 - 1) / np.sqrt(8 * np.pi)) / np.sqrt(1 + 1e-4)
START = {
    "bounded_relu": np.maximum(X, 0),
    "clamp": np.clip(X + 0.5, 0, 1),
    "gelu": X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    "gelu_fit": least_squares(lambda x: x * norm.cdf(x)),
    "herpn": HERMITE,
    "mixed_relu": np.maximum(X, 0),
    "relu_fit": 3 / 8 + X / 2 + 15 / 128 * X**2,
    "sigmoid_fit": least_squares(lambda x: 1 / (1 + np.exp(-x))),
    "identity": X,
    "polynomial": 0.5 * X + 0.00046984 * X**2,
    "quadratic": X,
    "quadratic_channel": X,
    "relu": np.maximum(X, 0),
    "square": X**2,
}
TRAINED = {
    "bounded_relu": {"bound": (3,)},
    "herpn": {"beta": (3,), "gamma": (3,)},
    "quadratic": {"a": (1,), "b": (1,)},
    "quadratic_channel": {"a": (3,), "b": (3,)},
}
OPTIONS = {
    "gelu_fit": {"interval": (-3, 2), "degree": 7},
    "relu_fit": {"interval": [-2, 4], "degree": 5, "method": "remez"},
    "sigmoid_fit": {"degree": 3, "method": "chebyshev"},
    "polynomial": {"ascending": (1.0, -2.0, 0.5, 0.25)},
    "quadratic": {"constant": True},
    "quadratic_channel": {"constant": True},
}


def module_of(name, x=X, options=None):
    module = activations.create(name, options)
    return module, module.init(jax.random.key(0), jnp.asarray(x))


def drawn(variables, seed=1):
    """The variables with random numbers for what is trained or measured, and a transition that is complete."""
    rng = np.random.default_rng(seed)
    random = jax.tree.map(lambda leaf: rng.uniform(0.5, 2, leaf.shape).astype(np.float32), dict(variables))
    return random | {"transition": variables["transition"]} if "transition" in variables else random


@EVERY
def test_it_starts_as_its_formula_says(name):
    module, variables = module_of(name)
    assert isinstance(module, Activation)
    np.testing.assert_allclose(module.apply(variables, jnp.asarray(X)), START[name], rtol=1e-5, atol=1e-6)


@EVERY
@pytest.mark.parametrize("with_options", [False, True])
def test_a_polynomial_is_what_its_coefficients_say(name, with_options):
    module, variables = module_of(name, options=OPTIONS.get(name) if with_options else None)
    variables = drawn(variables)
    if not module.polynomial:
        with pytest.raises(ValueError, match="is not a polynomial"):
            module.coefficients(variables)
        return
    ascending = module.coefficients(variables)
    assert ascending.dtype == np.float64 and ascending.ndim == 2 and ascending.shape[1] in (1, 3)
    expected = sum(each * X.astype(np.float64) ** power for power, each in enumerate(ascending))
    np.testing.assert_allclose(module.apply(variables, jnp.asarray(X)), expected, rtol=1e-4, atol=1e-4)


@EVERY
def test_what_is_deployed_holds_no_other_function(name):
    """With the variables known, the traced program of a polynomial multiplies and adds, and nothing else."""
    module, variables = module_of(name)
    program = jax.make_jaxpr(lambda x: module.apply(drawn(variables), x))(jnp.asarray(X))
    steps = {str(step.primitive) for step in program.eqns}
    arithmetic = {"add", "sub", "mul", "integer_pow", "broadcast_in_dim", "convert_element_type", "reshape", "div"}
    arithmetic |= {"rsqrt"}  # of a BatchNorm's fixed variance
    assert (steps <= arithmetic) == module.polynomial, steps


@EVERY
def test_its_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"option of activation '{name}'='shade' is not known"):
        activations.create(name, {"shade": 1})


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
    assert jax.tree.map(jnp.shape, dict(variables.get("params", {}))) == TRAINED.get(name, {})


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
        summed_axes = (0, 1, 2) if granularity == "layer" else (0, 1)
        np.testing.assert_allclose(slopes["a"].ravel(), r * (X**2).sum(summed_axes).ravel(), rtol=1e-5)
        np.testing.assert_allclose(slopes["b"].ravel(), r * X.sum(summed_axes).ravel(), rtol=1e-4, atol=1e-5)
    assert not jax.tree.leaves(jax.grad(loss)(variables["params"], 0.0))[0].any()  # not before the transition starts


def test_another_granularity_is_named():
    with pytest.raises(ValueError, match="granularity='chanel' .*Did you mean 'channel'"):
        Quadratic("chanel").init(jax.random.key(0), jnp.ones((1, 2)))


def test_a_transition_under_way_has_no_coefficients():
    for module in (Quadratic(), Polynomial()):
        variables = dict(module.init(jax.random.key(0), jnp.asarray(X))) | {"transition": {"r": jnp.float32(0.5)}}
        with pytest.raises(ValueError, match=f"{type(module).__name__} has a transition at r=0.5"):
            module.coefficients(variables)


def test_a_fixed_polynomial_grows_out_of_relu():
    module, x = Polynomial((1.0, 0.0, 2.0)), X.astype(np.float64)
    for r in (0.0, 0.25, 1.0):
        y = module.apply({"transition": {"r": jnp.float32(r)}}, jnp.asarray(X))
        np.testing.assert_allclose(y, r * (1 + 2 * x**2) + (1 - r) * np.maximum(x, 0), rtol=1e-5, atol=1e-6)
    for ascending, message in (((1.0,), "at least two"), ((1.0, np.nan), "finite numbers, not nan")):
        with pytest.raises(ValueError, match=message):
            Polynomial(ascending).init(jax.random.key(0), jnp.asarray(X))
