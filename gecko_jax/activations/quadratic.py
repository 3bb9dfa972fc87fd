"""A trainable quadratic that grows out of a ReLU (Baruch et al., arXiv 2111.03362)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax.checks import one_of
from gecko_jax.types import Array


class Quadratic(nn.Module):
    """a x^2 + b x, with a = 0 and b = 1 at the start; during the transition r (a x^2 + b x) + (1 - r) max(x, 0).

    r is the variable of the collection "transition", 1 unless a schedule sets it: the deployed network is the pure
    polynomial. `training.fit(..., schedules={"transition": training.linear(0.2, 0.6)})` moves it during training.

    Attributes:
      granularity: "layer", one pair (a, b), or "channel", one a channel: under encryption they cost the same.
    """

    granularity: str = "layer"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one_of("granularity", self.granularity, ("layer", "channel"))
        shape = (x.shape[-1],) if self.granularity == "channel" else (1,)
        a = self.param("a", nn.initializers.zeros, shape).reshape((1,) * (x.ndim - 1) + shape)
        b = self.param("b", nn.initializers.ones, shape).reshape((1,) * (x.ndim - 1) + shape)
        r = self.variable("transition", "r", lambda: jnp.ones(()))
        return r.value * (a * x * x + b * x) + (1 - r.value) * nn.relu(x)
