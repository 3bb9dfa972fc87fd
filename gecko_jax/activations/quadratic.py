"""A trained quadratic that starts as a ReLU (Baruch et al., arXiv 2111.03362)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax.checks import one_of
from gecko_jax.types import Array


class Quadratic(nn.Module):
    """Computes a x^2 + b x; during a transition, r (a x^2 + b x) + (1 - r) max(x, 0).

    a and b are trained, from a = 0 and b = 1. r is the variable of the collection "transition", 1 unless a schedule
    sets it: the deployed network is the pure polynomial. A transition during training is a schedule,
    `training.fit(..., schedules={"transition": training.linear(0.2, 0.6)})`.

    Attributes:
      granularity: "layer", one pair (a, b), or "channel", one for each channel. Under encryption both cost the same.

    Source: Baruch et al., "A methodology for training homomorphic encryption friendly neural networks", 2021
    (arXiv 2111.03362).

    >>> x = jnp.array([[-1.0, 2.0]])
    >>> variables = {"params": {"a": jnp.ones(1), "b": jnp.zeros(1)}, "transition": {"r": jnp.ones(())}}
    >>> Quadratic().apply(variables, x).tolist()
    [[1.0, 4.0]]
    """

    granularity: str = "layer"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the polynomial of x, elementwise."""
        one_of("granularity", self.granularity, ("layer", "channel"))
        shape = (x.shape[-1],) if self.granularity == "channel" else (1,)
        a = self.param("a", nn.initializers.zeros, shape).reshape((1,) * (x.ndim - 1) + shape)
        b = self.param("b", nn.initializers.ones, shape).reshape((1,) * (x.ndim - 1) + shape)
        r = self.variable("transition", "r", lambda: jnp.ones(()))
        return r.value * (a * x * x + b * x) + (1 - r.value) * nn.relu(x)
