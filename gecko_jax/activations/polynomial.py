"""A polynomial whose coefficients are settings and are not trained."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import numpy as np

from gecko_jax import checks
from gecko_jax.activations.activation import Activation, check_deployed
from gecko_jax.types import Array, Variables


class Polynomial(Activation):
    """Computes sum_k coefficients[k] x^k; during a transition from ReLU, r times that + (1 - r) max(x, 0).

    The default, 0.5 x + 0.00046984 x^2, is a baseline of Baruch et al. (2021). For a fit of ReLU, GELU or a sigmoid on
    an interval see `Fitted`.

    Attributes:
      ascending: the coefficients of 1, x, x^2, ...: at least two.

    >>> Polynomial((1.0, 0.0, 2.0)).apply({"transition": {"r": 1.0}}, 3.0)
    19.0
    """

    ascending: tuple[float, ...] = (0.0, 0.5, 0.00046984)
    polynomial: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the polynomial of x, elementwise."""
        ascending = self._checked()

        def polynomial(x):
            y = ascending[-1] * x + ascending[-2]
            for coefficient in ascending[-3::-1]:
                y = y * x + coefficient
            return y

        return self.between(nn.relu, polynomial, x)

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns the settings."""
        check_deployed("Polynomial", variables)
        return np.array(self._checked())[:, None]

    def _checked(self) -> tuple[float, ...]:
        values = checks.numbers("ascending", self.ascending, "coefficients, the constant first")
        if len(values) < 2:
            raise ValueError(f"ascending={values!r} must hold at least two coefficients, of 1 and of x.")
        return values
