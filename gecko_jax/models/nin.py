"""Network in Network: every convolution is followed by two of 1 x 1, and class maps are averaged instead of classified.

XNOR-Net's best-known network for CIFAR-10 is this one in the order "xnor" with binary inner layers.
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.image_network import ImageNetwork, check_images, convolution, filters_of
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.types import Array

SIDES = (5, 1, 1, 5, 1, 1, 3, 1)  # of the convolutions' windows
POOL = (3, 2, 1)  # side, stride and padding, after the third convolution and after the sixth
MIN_SIDE = 2  # pixels


class NiN(ImageNetwork, kw_only=True):
    """Applies 9 convolutions and no dense layer: 966,986 parameters for color images of 10 classes.

    The class maps are averaged as they are. The published network puts a ReLU on them, by which no logit could be
    negative. Dropout is left out.

    Attributes:
      channels: filters of the eight convolutions before the class maps.
      pooling: of the first pool; the second is an average, as published.
      num_classes, width: see `image_network.ImageNetwork`; order, activation, normalize: see `blocks.Block`.

    Source: Lin, Chen and Yan, "Network in network", ICLR 2014 (arXiv 1312.4400), with the sizes of XNOR-Net's public
    PyTorch port.
    """

    channels: tuple[int, ...] = (192, 160, 96, 192, 192, 192, 192, 192)
    pooling: str = "max"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, MIN_SIDE)
        for number, (filters, side) in enumerate(zip(self.channels, SIDES, strict=True), start=1):
            ends = dict(pool=POOL if number in (3, 6) else 1, pooling="average" if number == 6 else self.pooling)
            layer = convolution(filters_of(self, filters), side, f"conv{number}")
            x = Block(layer, first=number == 1, name=f"block{number}", **ends, **block_settings(self))(x, train)
        if self.order == "xnor":
            x = apply_norm(x, train, kind_of(self.normalize) or "batch")
        return convolution(self.num_classes, 1, "logits")(x).mean((1, 2))
