"""A plain deep network, whose layers, norm and activation are the ingredients that the ablation changes."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax import activations
from gecko_jax.checks import one_of
from gecko_jax.models.normalization import apply_norm
from gecko_jax.types import Array

NORMS = ("none", "batch", "min_max")
MOMENTUM = 0.9  # of running statistics, as BatchNorm has it


class Deep(nn.Module):
    """Applies `depth` blocks of a dense layer, a norm and an activation, and a last dense layer.

    Attributes:
      num_classes: number of outputs.
      depth: number of blocks, each with one activation.
      width: of each block.
      activation: a name of `gecko_jax.activations.ACTIVATIONS`.
      norm: one of NORMS.
    """

    num_classes: int
    depth: int = 12
    width: int = 64
    activation: str = "relu"
    norm: str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, num_classes] for x [b, ...], which is flattened."""
        one_of("norm", self.norm, NORMS)
        x = x.reshape(x.shape[0], -1)
        for _ in range(self.depth):
            x = nn.Dense(self.width)(x)
            if self.norm == "batch":
                x = apply_norm(x, train, "batch")
            elif self.norm == "min_max":
                x = ApproxMinMaxNorm()(x, train)
            activation = activations.create(self.activation)
            x = activation(x, train) if activation.switched else activation(x)
        return nn.Dense(self.num_classes, name="logits")(x)


class ApproxMinMaxNorm(nn.Module):
    """Maps each channel's range to -1..1: 2 (x - low) / (high - low) - 1.

    In training, low and high are the batch's minimum and maximum; in evaluation, their running averages, so that the
    deployed layer is linear and an input outside the usual range lies outside -1..1.

    Source: Garimella et al., "Sisyphus: A Cautionary Tale of Using Low-Degree Polynomial Activations in
    Privacy-Preserving Deep Learning" (arXiv 2107.12342), where bounded inputs are to keep activations from escaping.
    """

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns x [b, channels] in its channels' ranges."""
        low = self.variable("batch_stats", "low", lambda: -jnp.ones(x.shape[-1:]))
        high = self.variable("batch_stats", "high", lambda: jnp.ones(x.shape[-1:]))
        bottom, top = (x.min(0), x.max(0)) if train else (low.value, high.value)
        if train and not self.is_initializing():
            low.value = MOMENTUM * low.value + (1 - MOMENTUM) * bottom
            high.value = MOMENTUM * high.value + (1 - MOMENTUM) * top
        return 2 * (x - bottom[None]) / jnp.maximum(top - bottom, 1e-6)[None] - 1
