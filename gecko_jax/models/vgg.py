"""VGG for small images: stages of 3 x 3 convolutions, each with a pool of 2 at its end; and the AlexNet of CIFAR.

name        stages (filters of their convolutions)                                        dense layers
vgg11       64 | 128 | 256 256 | 512 512 | 512 512                                        none but the last
vgg13       64 64 | 128 128 | 256 256 | 512 512 | 512 512                                 none but the last
vgg16       64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512                     none but the last
vgg19       64 64 | 128 128 | 256 256 256 256 | 512 512 512 512 | 512 512 512 512         none but the last
alexnet32   64 (stride 2) | 192 | 384 256 256                                             4096 4096
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.image_network import ImageNetwork, check_images, classify, convolution, filters_of
from gecko_jax.types import Array

Stages = tuple[tuple[int, ...], ...]


class VGG16(ImageNetwork, kw_only=True):
    """Applies 13 convolutions and a dense layer: 14,728,266 parameters for 32 x 32 color images of 10 classes.

    That is with normalize=True, as networks for CIFAR have it. With hidden=(4096, 4096) it is the network of the paper:
    138,357,544 parameters for 224 x 224 color images of 1,000 classes (there without a normalization).

    Attributes:
      channels: filters of the convolutions of each stage.
      hidden: units of the dense layers before the last.
      stride: of the first convolution, in pixels.
      num_classes, width: see `image_network.ImageNetwork`; order, pooling, activation, normalize: see `blocks.Block`.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015
    (arXiv 1409.1556), table 1; one dense layer instead of three, as is usual for 32 x 32 pixels.
    """

    channels: Stages = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
    hidden: tuple[int, ...] = ()
    stride: int = 1
    pooling: str = "max"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, self.stride * (2 ** len(self.channels) - 1) + 1)
        settings, number = block_settings(self), 0
        for stage in self.channels:
            for place, filters in enumerate(stage, start=1):
                number += 1
                stride = self.stride if number == 1 else 1
                layer = convolution(filters_of(self, filters), 3, f"conv{number}", strides=stride)
                ends = dict(pool=2 if place == len(stage) else 1, pooling=self.pooling, first=number == 1)
                x = Block(layer, name=f"block{number}", **ends, **settings)(x, train)
        return classify(self, x, train, self.hidden, number)


class VGG11(VGG16):
    """Applies 8 convolutions and a dense layer: 9,231,114 parameters; see `VGG16`."""

    channels: Stages = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG13(VGG16):
    """Applies 10 convolutions and a dense layer: 9,416,010 parameters; see `VGG16`."""

    channels: Stages = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))


class VGG19(VGG16):
    """Applies 16 convolutions and a dense layer: 20,040,522 parameters; see `VGG16`."""

    channels: Stages = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


class AlexNet32(VGG16):
    """Applies 5 convolutions and 3 dense layers: 23,272,266 parameters for 32 x 32 color images of 10 classes.

    This is what studies of CIFAR call AlexNet, Gecko's among them (93 MB of float weights), without dropout.

    Attributes:
      channels, hidden, stride, ...: see `VGG16`.

    Source: the notebooks of Duddu et al., "GECKO", 2022 (arXiv 2010.00912).
    """

    channels: Stages = ((64,), (192,), (384, 256, 256))
    hidden: tuple[int, ...] = (4096, 4096)
    stride: int = 2
