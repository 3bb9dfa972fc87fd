"""The modified LeNet of Gecko, Architecture 1: Conv32 3x3, Conv64 3x3, MaxPool 2, Dense 128, Dense 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.types import Array


class LeNet(nn.Module):
    """Applies two convolutions without padding, one pool, two dense layers: 1,199,882 parameters for MNIST.

    Attributes:
      num_classes: number of outputs.
      channels: filters of the two convolutions.
      hidden: width of the dense layer.
      order, activation, activation_options, normalize, pooling: see `blocks.Block`.
    """

    num_classes: int
    channels: tuple[int, int] = (32, 64)
    hidden: int = 128
    order: str = "post"
    activation: str = "relu"
    normalize: bool | str = False
    pooling: str = "max"
    activation_options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        if x.ndim != 4 or min(x.shape[1:3]) < 6:
            raise ValueError(f"x has shape {x.shape}; LeNet takes images [batch, height >= 6, width >= 6, channels].")
        settings = block_settings(self)
        conv1, conv2 = (nn.Conv(c, (3, 3), padding="VALID", name=f"conv{i + 1}") for i, c in enumerate(self.channels))
        x = Block(conv1, first=True, name="block1", **settings)(x, train)
        x = Block(conv2, pool=2, pooling=self.pooling, name="block2", **settings)(x, train)
        x = x.reshape(x.shape[0], -1)
        x = Block(nn.Dense(self.hidden, name="dense"), name="block3", **settings)(x, train)
        if self.order == "xnor":
            x = apply_norm(x, train, kind_of(self.normalize) or "batch")
        return nn.Dense(self.num_classes, name="logits")(x)
