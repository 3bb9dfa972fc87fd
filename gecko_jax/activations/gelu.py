"""The Gaussian error linear unit of language models."""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.activations.activation import Activation
from gecko_jax.types import Array


class Gelu(Activation):
    """Computes x Phi(x), with Phi the distribution function of a standard normal (Hendrycks and Gimpel 2016).

    Attributes:
      approximate: whether x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) takes its place: GPT-2 was trained with it
        ("gelu_new"), BERT without.

    >>> import jax.numpy as jnp
    >>> [round(float(Gelu(approximate).apply({}, jnp.float32(1.0))), 4) for approximate in (True, False)]
    [0.8412, 0.8413]
    """

    approximate: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns x Phi(x), elementwise."""
        return nn.gelu(x, approximate=self.approximate)
