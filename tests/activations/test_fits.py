"""Polynomial fits of every function by every method: NumPy, closed forms, the theory of best approximation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import Polynomial, legendre

from gecko_jax.activations import FUNCTIONS, METHODS, Fitted, fit_polynomial

EVERY = pytest.mark.parametrize("function", sorted(FUNCTIONS))
INTERVALS = [(-4.0, 4.0), (-1.0, 3.0), (0.5, 6.0)]


@EVERY
@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("degree", [1, 2, 5, 18])
def test_a_fit_is_a_polynomial_with_the_error_that_it_states(function, method, degree):
    for interval in INTERVALS[:2]:
        fit = fit_polynomial(function, interval, degree, method)
        x = np.linspace(*interval, 3001)
        assert len(fit.coefficients) == degree + 1 and fit.interval == interval
        np.testing.assert_allclose(Polynomial(fit.ascending)(x), fit(x), atol=1e-6 * np.abs(x).max())
        assert np.abs(fit(x) - FUNCTIONS[function](x)).max() <= fit.max_error * (1 + 1e-5) + 1e-12  # of another grid
        assert method != "remez" or fit_polynomial(function, interval, degree + 2, method).max_error <= fit.max_error


@EVERY
@pytest.mark.parametrize("degree", [1, 2, 4, 9])
def test_least_squares_is_numpy_s_weighted_fit(function, degree):
    nodes, weights = legendre.leggauss(300)
    for low, high in INTERVALS:
        pieces = [(low, high)] if low >= 0 else [(low, 0.0), (0.0, high)]  # ReLU has a kink at 0
        x = np.concatenate([(a + b) / 2 + (b - a) / 2 * nodes for a, b in pieces])
        w = np.concatenate([(b - a) / 2 * weights for a, b in pieces])
        expected = Polynomial.fit(x, FUNCTIONS[function](x), degree, w=np.sqrt(w))
        np.testing.assert_allclose(fit_polynomial(function, (low, high), degree)(x), expected(x), atol=1e-9)


@EVERY
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 7, 12])
def test_remez_equioscillates_and_nothing_has_a_smaller_maximum(function, degree):
    """Chebyshev's theorem: the error of the best polynomial takes +-its maximum at degree + 2 points, alternately."""
    for interval in INTERVALS:
        fit = fit_polynomial(function, interval, degree, "remez")
        x = np.unique(np.append(np.linspace(*interval, 200_001), 0.0))
        x = x[(x >= interval[0]) & (x <= interval[1])]
        error = fit(x) - FUNCTIONS[function](x)
        if fit.max_error < 1e-12:  # ReLU on positive numbers
            continue
        peaks = x[np.abs(error) > fit.max_error * (1 - 1e-4)], error[np.abs(error) > fit.max_error * (1 - 1e-4)]
        assert 1 + np.count_nonzero(np.diff(np.sign(peaks[1]))) >= degree + 2
        for other in ("least_squares", "chebyshev"):
            assert fit.max_error <= fit_polynomial(function, interval, degree, other).max_error


def test_known_fits_of_relu():
    """|x| on -1..1: x^2 + 1/8 is best, 15/16 x^2 + 3/16 by least squares; ReLU is half of |x| + x."""
    np.testing.assert_allclose(fit_polynomial("relu", (-1, 1), 2, "remez").ascending, [1 / 16, 1 / 2, 1 / 2], atol=1e-6)
    np.testing.assert_allclose(fit_polynomial("relu", (-1, 1), 2).ascending, [3 / 32, 1 / 2, 15 / 32], atol=1e-12)
    at_nodes = fit_polynomial("relu", (-2, 6), 6, "chebyshev")
    nodes = 2 + 4 * np.cos(np.pi * (np.arange(7) + 0.5) / 7)
    np.testing.assert_allclose(at_nodes(nodes), np.maximum(nodes, 0), atol=1e-12)


def test_a_function_of_one_s_own():
    fit = fit_polynomial(lambda x: x**3 - x, (-2.0, 1.0), 3, "remez")
    np.testing.assert_allclose(fit.ascending, [0, -1, 0, 1], atol=1e-9)


@pytest.mark.parametrize("degree", [2, 7, 27])
def test_a_module_keeps_its_digits_in_float32(degree):
    module = Fitted("relu", (-10.0, 10.0), degree)
    x = np.linspace(-10, 10, 401).astype(np.float32)
    y = module.apply({"transition": {"r": jnp.float32(1)}}, x)
    np.testing.assert_allclose(y, module.fit()(x), atol=2e-5)


@EVERY
def test_a_fit_grows_out_of_its_own_function(function):
    module, x = Fitted(function, (-3.0, 3.0)), np.linspace(-3, 3, 61).astype(np.float32)
    for r in (0.0, 0.4):
        y = module.apply({"transition": {"r": jnp.float32(r)}}, x)
        np.testing.assert_allclose(y, r * module.fit()(x) + (1 - r) * FUNCTIONS[function](x), atol=1e-5)


def test_products_have_logarithmic_depth():
    """Under encryption the depth is what costs: T_18 by 5 products in a row, not 17."""
    module = Fitted(degree=18)
    program = jax.make_jaxpr(lambda x: module.apply({"transition": {"r": 1.0}}, x))(jnp.ones(3)).jaxpr
    depth = {program.invars[0]: 0}
    for step in program.eqns:
        of_data = [depth[atom] for atom in step.invars if not hasattr(atom, "val") and atom in depth]
        rises = step.primitive.name == "mul" and len(of_data) == 2
        depth[step.outvars[0]] = max(of_data, default=0) + (1 if rises else 0)
    assert max(depth.values()) == 5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("tanh", (-1, 1), 2), "function='tanh' is not known"),
        (("relu", (1, 1), 2), r"interval=\(1, 1\) must be \(low, high\)"),
        (("relu", (1, np.inf), 2), "NaN or infinite"),
        (("relu", (1,), 2), r"interval has shape \(1,\)"),
        (("relu", (-1, 1), 0), "degree=0 must be"),
        (("relu", (-1, 1), 65), "degree=65 must lie between 1 and 64"),
        (("relu", (-1, 1), 2, "spline"), "method='spline' is not known"),
        ((lambda x: 1 / (x - x), (-1, 1), 2), r"function\(x\) holds"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        fit_polynomial(*arguments)
