"""Multi-layer perceptron; Architecture 2 of Gecko is `hidden=(512, 512, 512)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.types import Array


class MLP(nn.Module):
    """Applies dense blocks and a last Dense.

    Attributes:
      num_classes: number of outputs.
      hidden: widths of the hidden layers.
      order, activation, activation_options, normalize: see `blocks.Block`.
    """

    num_classes: int
    hidden: tuple[int, ...] = (512, 512, 512)
    order: str = "post"
    activation: str = "relu"
    normalize: bool | str = False
    activation_options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for x [b, ...], which is flattened."""
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden):
            dense = nn.Dense(width, name=f"dense{i + 1}")
            settings = block_settings(self)
            x = Block(dense, first=i == 0, name=f"block{i + 1}", **settings)(x, train)
        if self.order == "xnor":
            x = apply_norm(x, train, kind_of(self.normalize) or "batch")
        return nn.Dense(self.num_classes, name="logits")(x)
