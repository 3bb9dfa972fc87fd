"""A trained quadratic that starts as the identity or grows out of a ReLU (Baruch et al., arXiv 2111.03362)."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import numpy as np

from gecko_jax.activations.activation import Activation, check_deployed, over_channels
from gecko_jax.checks import one_of
from gecko_jax.types import Array, Variables


class Quadratic(Activation):
    """Computes a x^2 + b x (+ c); during a transition, r (a x^2 + b x + c) + (1 - r) max(x, 0).

    a, b and c are trained, from a = 0, b = 1 and c = 0. r is the variable of the collection "transition", 1 unless a
    schedule sets it: the deployed network is the pure polynomial. A transition during training is a schedule,
    `training.fit(..., schedules={"transition": training.linear(0.2, 0.6)})`. A learning rate of their own comes from
    `models.with_rates`.

    Attributes:
      granularity: "layer", one (a, b, c), or "channel", one for each channel. Under encryption both cost the same.
      constant: whether there is a c. A bias or a BatchNorm in front of the activation can express it too.

    Source: Baruch et al., "A methodology for training homomorphic encryption friendly neural networks", 2021
    (arXiv 2111.03362).

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[-1.0, 2.0]])
    >>> variables = {"params": {"a": jnp.ones(1), "b": jnp.zeros(1)}, "transition": {"r": jnp.ones(())}}
    >>> Quadratic().apply(variables, x).tolist()
    [[1.0, 4.0]]
    >>> Quadratic().coefficients(variables)[:, 0].tolist()
    [0.0, 0.0, 1.0]
    """

    granularity: str = "layer"
    constant: bool = False
    polynomial: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the polynomial of x, elementwise."""
        one_of("granularity", self.granularity, ("layer", "channel"))
        shape = (x.shape[-1],) if self.granularity == "channel" else (1,)
        a = over_channels(self.param("a", nn.initializers.zeros, shape), x)
        b = over_channels(self.param("b", nn.initializers.ones, shape), x)
        c = over_channels(self.param("c", nn.initializers.zeros, shape), x) if self.constant else None

        def polynomial(x):
            y = a * x * x + b * x
            return y if c is None else y + c

        return self.between(nn.relu, polynomial, x)

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns (c, b, a) of each channel."""
        check_deployed("Quadratic", variables)
        a, b = (np.asarray(variables["params"][name], np.float64) for name in ("a", "b"))
        c = np.asarray(variables["params"].get("c", np.zeros_like(a)), np.float64)
        return np.stack([c, b, a])
