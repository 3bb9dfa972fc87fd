"""What every activation declares about itself, and the transition from the function that a polynomial replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax.types import Array, Variables

TRANSITION = "transition"  # the collection of every r, which a schedule sets


class Activation(nn.Module):
    """The base of all activations.

    Attributes:
      monotone: it never falls, so that a max-pool may be computed before it.
      polynomial: what is deployed is a polynomial, and `coefficients` gives it.
      switched: its call takes `train` beside x, because it keeps statistics over the batch.

    >>> Activation.monotone, Activation.polynomial, Activation.switched
    (False, False, False)
    >>> class Halved(Activation):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return self.between(nn.relu, lambda x: x / 2, x)
    >>> float(Halved().apply({"transition": {"r": 0.25}}, -8.0))  # a quarter of -4, three quarters of 0
    -1.0
    >>> Halved().coefficients({})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: Halved is not a polynomial. Train a network with one of the polynomial activations, ...
    """

    monotone: ClassVar[bool] = False
    polynomial: ClassVar[bool] = False
    switched: ClassVar[bool] = False

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns the coefficients of the deployed polynomial.

        Args:
          variables: of this module alone, with a transition that is complete.

        Returns:
          float64 [degree + 1, k], ascending; k is 1, or the number of channels.

        Raises:
          ValueError: an activation that is not a polynomial, or a transition that is under way.
        """
        raise ValueError(
            f"{type(self).__name__} is not a polynomial. Train a network with one of the polynomial activations, such "
            'as activation="quadratic".'
        )

    def between(self, replaced: Callable[[Array], Array], polynomial: Callable[[Array], Array], x: Array) -> Array:
        """Returns r polynomial(x) + (1 - r) replaced(x); r is 1 unless a schedule sets the collection "transition".

        A complete transition whose r is known, and not traced, computes the polynomial alone: the network that is
        deployed, exported or encrypted holds no trace of the function that was replaced.
        """
        r = self.variable(TRANSITION, "r", lambda: jnp.ones(())).value
        if not isinstance(r, Tracer) and float(r) == 1:
            return polynomial(x)
        return r * polynomial(x) + (1 - r) * replaced(x)


def check_deployed(name: str, variables: Variables) -> None:
    """Raises ValueError if a transition is under way, which has no coefficients.

    Args:
      name: the activation's, which the message gives.
      variables: of its module alone.
    """
    r = float(variables.get(TRANSITION, {}).get("r", 1.0))
    if r != 1:
        raise ValueError(
            f"{name} has a transition at r={r:g} and is not a polynomial yet; expected r=1, its value after a run of "
            "training.fit with schedules={'transition': ...}."
        )


def over_channels(parameter: Array, x: Array) -> Array:
    """Returns a parameter [1] or [channels] with the leading axes of x [..., channels].

    Args:
      parameter: one number, or one for each channel.
      x: what it is combined with.
    """
    return parameter.reshape((1,) * (x.ndim - 1) + parameter.shape)
