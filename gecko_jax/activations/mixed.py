"""ReLU mixed with another activation whose share fades in training, so that plain ReLU is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.core import Tracer

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array

MIXTURE = "mixture"  # the collection of every share, which a schedule has to set


class MixedRelu(Activation):
    """Computes share * other(x) + (1 - share) * max(x, 0).

    `share` is the variable of the collection "mixture", 0 unless a schedule sets it, and must be 0 in the last epoch:
    training.fit(..., schedules={"mixture": training.linear(0.2, 0.8, 1.0, 0.0)}). Training without such a schedule is
    refused, because it would be of plain ReLU.

    Attributes:
      other: an activation without parameters and statistics: "square", "identity", "polynomial", "relu_fit", ...
      other_options: its settings; None for the usual ones.

    >>> x = jnp.array([-2.0, 1.0])
    >>> [MixedRelu("square").apply({"mixture": {"share": share}}, x).tolist() for share in (0.5, 0.0)]
    [[2.0, 1.0], [0.0, 1.0]]
    """

    other: str = "square"
    other_options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the mixture; ReLU alone if the share is known to be 0."""
        from gecko_jax.activations import create  # here: the table lists this class

        other = create(self.other, self.other_options)
        share = self.variable(MIXTURE, "share", lambda: jnp.zeros(())).value
        if not self.is_initializing() and not isinstance(share, Tracer) and float(share) == 0:
            return nn.relu(x)
        mixed = share * other(x) + (1 - share) * nn.relu(x)
        if set(other.variables) - {"transition"}:
            raise ValueError(
                f"other={self.other!r} has variables of its own ({', '.join(sorted(other.variables))}), which ReLU "
                'alone would leave behind. Take one without, such as "square" or "polynomial".'
            )
        return mixed
