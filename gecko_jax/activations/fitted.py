"""A polynomial that was fitted to ReLU, GELU or a sigmoid on an interval."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np

from gecko_jax.activations.activation import Activation, check_deployed
from gecko_jax.activations.fits import PolynomialFit, fit_polynomial
from gecko_jax.types import Array, Variables

SMOOTH = {"gelu": functools.partial(jax.nn.gelu, approximate=False), "relu": nn.relu, "sigmoid": jax.nn.sigmoid}


class Fitted(Activation):
    """Computes a polynomial that is close to a function on an interval; in a transition, r times it + (1 - r) function.

    It is evaluated by products of Chebyshev polynomials, T_(i+j) = 2 T_i T_j - T_(i-j), of depth log2(degree): float32
    and ciphertexts keep their digits at any degree. Outside of the interval it grows as x^degree: keep the inputs
    inside by `models.with_range_penalty`.

    Attributes:
      function: one of `fits.FUNCTIONS`: "relu", "gelu", "sigmoid".
      interval: (low, high) that the inputs are expected in.
      degree: 1 to 64.
      method: one of `fits.METHODS`: "least_squares", "chebyshev", "remez".

    >>> import jax.numpy as jnp
    >>> relu = Fitted(interval=(-1.0, 1.0), method="remez")
    >>> round(float(relu.apply({"transition": {"r": 1.0}}, jnp.float32(0.0))), 4), round(relu.fit().max_error, 4)
    (0.0625, 0.0625)
    """

    function: str = "relu"
    interval: tuple[float, float] = (-4.0, 4.0)
    degree: int = 2
    method: str = "least_squares"
    polynomial: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the polynomial of x, elementwise."""
        fit = self.fit()
        low, high = fit.interval

        def polynomial(x):
            u = x * (2 / (high - low)) - (low + high) / (high - low)
            basis: list[Any] = [1.0, u]
            for k in range(2, len(fit.coefficients)):
                half = k // 2
                basis.append(2 * basis[k - half] * basis[half] - basis[k - 2 * half])
            y = fit.coefficients[0] + fit.coefficients[1] * u
            for coefficient, term in zip(fit.coefficients[2:], basis[2:], strict=True):
                y = y + coefficient * term
            return y

        return self.between(SMOOTH[self.function], polynomial, x)

    def fit(self) -> PolynomialFit:
        """Returns the polynomial with its largest error on the interval."""
        return _fit(self.function, tuple(self.interval), self.degree, self.method)

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns those of 1, x, x^2, ...

        >>> Fitted(interval=(-1.0, 1.0)).coefficients({}).round(3).ravel().tolist()
        [0.094, 0.5, 0.469]
        """
        check_deployed("Fitted", variables)
        return self.fit().ascending[:, None]


@functools.lru_cache(maxsize=256)
def _fit(function: str, interval: tuple[float, float], degree: int, method: str) -> PolynomialFit:
    return fit_polynomial(function, interval, degree, method)
