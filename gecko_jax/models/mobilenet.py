"""MobileNetV2: blocks that expand the channels, convolve each by itself, and project to few, with a sum around them."""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.checks import positive
from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.image_network import Composed, ImageNetwork, check_images, classify, convolution, unbiased
from gecko_jax.types import Array

MULTIPLE = 8  # of which all numbers of filters are


def rounded(filters: float) -> int:
    """Returns the multiple of 8 that is nearest, at least 8, and not more than a tenth below.

    >>> rounded(24 * 0.75), rounded(32 * 0.35), rounded(1)
    (24, 16, 8)
    """
    nearest = max(MULTIPLE, int(filters + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return nearest + MULTIPLE if nearest < 0.9 * filters else nearest


class InvertedResidual(Composed, kw_only=True):
    """Expands, convolves channel by channel and projects; the input is added if it has the output's shape.

    Attributes:
      filters: channels of the output.
      expansion: channels in between for each channel of the input; 1 leaves out the expanding layer.
      stride: of the convolution, in pixels.
    """

    filters: int
    expansion: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, ceil(height / stride), ceil(width / stride), filters] for x [b, height, width, channels]."""
        settings, bias, channels = block_settings(self), unbiased(self), x.shape[-1]
        y, between = x, channels * self.expansion
        if self.expansion > 1:
            y = Block(convolution(between, 1, "expand", **bias), name="expanded", **settings)(y, train)
        depthwise = convolution(between, 3, "depthwise", strides=self.stride, feature_group_count=between, **bias)
        y = Block(depthwise, name="convolved", **settings)(y, train)
        linear = {**settings, "activation": "identity", "activation_options": None}
        y = Block(convolution(self.filters, 1, "project", **bias), name="projected", **linear)(y, train)
        return x + y if self.stride == 1 and channels == self.filters else y


class MobileNetV2(ImageNetwork, kw_only=True):
    """Applies 52 convolutions and a dense layer: 2,236,682 parameters for color images of 10 classes.

    It has 3,504,872 parameters for 1,000 classes, as published. For small images the first convolution and the second
    stage have a stride of 1. Its ReLU6 is a ReLU unless another activation is named, and dropout is left out. The
    network that Gecko's notebooks call by this name has 60,240 parameters more: shortcuts with a convolution between
    unequal numbers of channels, and an expanding layer in the first block.

    Attributes:
      stem, last: filters of the first and the last convolution; `last` is not narrowed by a `width` below 1.
      stages: (expansion, filters, blocks, stride of the first of them).
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`; numbers of filters are multiples of 8.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018 (arXiv 1801.04381),
    table 2.
    """

    stem: int = 32
    stages: tuple[tuple[int, int, int, int], ...] = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2),
                                                     (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
    last: int = 1280
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, 1)
        settings, bias, width = block_settings(self), unbiased(self), positive("width", self.width)
        stem = convolution(rounded(self.stem * width), 3, "stem", **bias)
        x, number = Block(stem, first=True, name="block1", **settings)(x, train), 1
        for expansion, filters, blocks, stride in self.stages:
            for i in range(blocks):
                number += 1
                sizes = dict(filters=rounded(filters * width), expansion=expansion, stride=stride if i == 0 else 1)
                x = InvertedResidual(name=f"residual{number}", **sizes, **settings)(x, train)
        last = convolution(rounded(self.last * max(1.0, width)), 1, "last", **bias)
        x = Block(last, name=f"block{number + 1}", **settings)(x, train)
        return classify(self, x.mean((1, 2)), train)
