"""SqueezeNet: a convolution of 1 x 1 squeezes the channels before others of 1 x 1 and of 3 x 3 expand them."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.image_network import Composed, ImageNetwork, check_images, convolution, filters_of
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.models.pooling import POOLS
from gecko_jax.types import Array

POOLED_FIRES = (2, 4)  # the fires that end in a pool of 2


class Fire(Composed, kw_only=True):
    """Squeezes the channels and expands them twice.

    Attributes:
      squeeze: filters of the first convolution.
      expand: filters of each of the two others, whose outputs are concatenated.
    """

    squeeze: int
    expand: int

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, height, width, 2 expand] for x [b, height, width, channels]."""
        settings = block_settings(self)
        x = Block(convolution(self.squeeze, 1, "squeeze"), name="squeezed", **settings)(x, train)
        one = Block(convolution(self.expand, 1, "expand1"), name="expanded1", **settings)(x, train)
        three = Block(convolution(self.expand, 3, "expand3"), name="expanded3", **settings)(x, train)
        return jnp.concatenate([one, three], axis=-1)


class SqueezeNet(ImageNetwork, kw_only=True):
    """Applies a convolution, 8 fires and class maps that are averaged: 727,626 parameters for color images, 10 classes.

    This is version 1.1 (1,235,496 parameters for 1,000 classes) for small images: its first convolution has a stride of
    1 and its pools a side of 2. Dropout is left out, and so is the ReLU on the class maps, by which no logit could be
    negative.

    Attributes:
      stem: filters of the first convolution.
      fires: (squeeze, expand) of each fire; a pool follows the stem, the second fire and the fourth.
      num_classes, width: see `image_network.ImageNetwork`; order, pooling, activation, normalize: see `blocks.Block`.

    Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016 (arXiv 1602.07360);
    version 1.1 is its authors' later release.
    """

    stem: int = 64
    fires: tuple[tuple[int, int], ...] = ((16, 64), (16, 64), (32, 128), (32, 128),
                                          (48, 192), (48, 192), (64, 256), (64, 256))  # fmt: skip
    pooling: str = "max"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        pools = [number for number in POOLED_FIRES if number <= len(self.fires)]
        check_images(self, x, 2 ** (1 + len(pools)))
        settings = block_settings(self)
        stem = convolution(filters_of(self, self.stem), 3, "stem")
        x = Block(stem, pool=2, pooling=self.pooling, first=True, name="block1", **settings)(x, train)
        for number, sizes in enumerate(self.fires, start=1):
            squeeze, expand = (filters_of(self, size) for size in sizes)
            x = Fire(squeeze=squeeze, expand=expand, name=f"fire{number}", **settings)(x, train)
            x = POOLS[self.pooling](x, 2) if number in pools else x
        if self.order == "xnor":
            x = apply_norm(x, train, kind_of(self.normalize) or "batch")
        return convolution(self.num_classes, 1, "logits")(x).mean((1, 2))
