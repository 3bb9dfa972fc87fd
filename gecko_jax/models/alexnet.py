"""AlexNet: five convolutions and three dense layers, the network of HE-friendly chest X-ray studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.types import Array

MIN_SIDE = 63  # pixels, which leave one after the last pool
# (side of the windows, stride, padding, whether a 3 x 3 pool of stride 2 follows) of each convolution
CONVOLUTIONS = ((11, 4, 2, True), (5, 1, 2, True), (3, 1, 1, False), (3, 1, 1, False), (3, 1, 1, True))


class AlexNet(nn.Module):
    """Applies 8 linear layers and 7 activations: 61,100,840 parameters for 224 x 224 color images of 1,000 classes.

    The sizes are those of the one-GPU version (Krizhevsky 2014, and torchvision's), without dropout. An HE-friendly
    student has pooling="average", activation="quadratic" and normalize=True: encrypted it is 15 multiplications deep,
    and 224 x 224 pixels are beyond what a CPU of few cores computes on ciphertexts.

    Attributes:
      num_classes: number of outputs.
      channels: filters of the five convolutions.
      hidden: widths of the two dense layers.
      order, pooling, activation, activation_options, normalize: see `blocks.Block`.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014 (arXiv 1404.5997).
    """

    num_classes: int
    channels: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)
    hidden: tuple[int, int] = (4096, 4096)
    order: str = "post"
    pooling: str = "max"
    activation: str = "relu"
    normalize: bool | str = False
    activation_options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        if x.ndim != 4 or min(x.shape[1:3]) < MIN_SIDE:
            raise ValueError(
                f"x has shape {x.shape}; AlexNet takes images [batch, height >= {MIN_SIDE}, width >= {MIN_SIDE}, "
                'channels]. Enlarge smaller images, or take "lenet".'
            )
        settings = block_settings(self)
        layers = zip(self.channels, CONVOLUTIONS, strict=True)
        for i, (filters, (side, stride, padding, pooled)) in enumerate(layers, start=1):
            layer = nn.Conv(filters, (side, side), strides=stride, padding=padding, name=f"conv{i}")
            pool = (3, 2) if pooled else 1
            x = Block(layer, pool=pool, pooling=self.pooling, first=i == 1, name=f"block{i}", **settings)(x, train)
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden, start=1):
            x = Block(nn.Dense(width, name=f"dense{i}"), name=f"block{i + 5}", **settings)(x, train)
        if self.order == "xnor":
            x = apply_norm(x, train, kind_of(self.normalize) or "batch")
        return nn.Dense(self.num_classes, name="logits")(x)
