"""ResNet for small images: pairs of 3 x 3 convolutions with their input added, in stages of halved height and width.

  depth = 2 (blocks of all stages) + 2: blocks=(3, 3, 3) is ResNet-20, (5, 5, 5) ResNet-32, (9, 9, 9) ResNet-56

Between stages the shortcut takes every second pixel and fills the new channels with zeros (the paper's option A), so
that no shortcut has weights, and a binary network has none in float there.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax import activations
from gecko_jax.models.blocks import Block, activate, block_settings
from gecko_jax.models.image_network import (
    Composed,
    ImageNetwork,
    check_images,
    classify,
    convolution,
    filters_of,
    unbiased,
)
from gecko_jax.types import Array


class Residual(Composed, kw_only=True):
    """Adds two convolutions to their input.

    In the order "post" the sum is activated, in the order "xnor" it is left as it is and the next block normalizes it.

    Attributes:
      filters: of both convolutions.
      stride: of the first, in pixels.
    """

    filters: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, ceil(height / stride), ceil(width / stride), filters] for x [b, height, width, channels]."""
        settings, bias = block_settings(self), unbiased(self)
        first = convolution(self.filters, 3, "conv1", strides=self.stride, **bias)
        y = Block(first, name="block1", **settings)(x, train)
        linear = {**settings, "activation": "identity", "activation_options": None}
        y = Block(convolution(self.filters, 3, "conv2", **bias), name="block2", **linear)(y, train)
        y = y + shortcut(x, self.filters, self.stride)
        if self.order == "xnor":
            return y
        return activate(activations.create(self.activation, self.activation_options), y, train)


def shortcut(x: Array, filters: int, stride: int) -> Array:
    """Returns every stride-th pixel of x, with zeros in further channels and without those beyond `filters`.

    Args:
      x: images [b, height, width, channels].
      filters: channels of the result.
      stride: in pixels.

    >>> shortcut(jnp.ones((1, 4, 4, 2)), 3, 2)[0, 0, 0].tolist()
    [1.0, 1.0, 0.0]
    """
    x = x[:, ::stride, ::stride, :filters]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


class ResNet20(ImageNetwork, kw_only=True):
    """Applies 19 convolutions and a dense layer: 269,722 parameters for color images of 10 classes.

    Attributes:
      blocks: pairs of convolutions in each stage; every stage but the first halves height and width.
      channels: filters of each stage.
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016 (arXiv 1512.03385), section 4.2.
    """

    blocks: tuple[int, ...] = (3, 3, 3)
    channels: tuple[int, ...] = (16, 32, 64)
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, 1)
        if len(self.blocks) != len(self.channels):
            raise ValueError(f"blocks={self.blocks} and channels={self.channels} must name the same number of stages.")
        settings = block_settings(self)
        stem = convolution(filters_of(self, self.channels[0]), 3, "stem", **unbiased(self))
        x = Block(stem, first=True, name="block1", **settings)(x, train)
        for stage, (blocks, filters) in enumerate(zip(self.blocks, self.channels, strict=True), start=1):
            for i in range(blocks):
                sizes = dict(filters=filters_of(self, filters), stride=2 if stage > 1 and i == 0 else 1)
                x = Residual(name=f"stage{stage}_residual{i + 1}", **sizes, **settings)(x, train)
        return classify(self, x.mean((1, 2)), train)
