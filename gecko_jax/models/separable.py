"""Networks of separable convolutions: DS-CNN and MobileNetV1, as MLPerf Tiny takes them for microcontrollers.

A separable convolution filters each channel by itself in 3 x 3 windows, and then mixes the channels of each pixel.

The references are Keras models. As there, a border is "SAME": at a stride of 2 the border of an even side is one pixel
at its end alone. Convolutions have a bias although BatchNorm takes it out again, because the published numbers of
parameters contain it; a device holds neither (`costs.deployed`). Not as there: BatchNorm's epsilon is this package's,
initial values are Flax's, dropout is left out (`models.with_dropout` puts it in), and the outputs are logits.

Source: Banbury et al., "MLPerf Tiny benchmark", NeurIPS 2021 (arXiv 2106.07597), with the layers of its public code,
mlcommons/tiny, benchmark/training.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn

from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.image_network import Composed, ImageNetwork, check_images, classify, filters_of
from gecko_jax.types import Array


class Separable(Composed, kw_only=True):
    """Convolves each channel by itself, and then mixes the channels; both with norm and activation.

    Attributes:
      filters: channels of the output.
      stride: of the windows, in pixels.
    """

    filters: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, ceil(height / stride), ceil(width / stride), filters] for x [b, height, width, channels]."""
        settings, channels, strides = block_settings(self), x.shape[-1], (self.stride, self.stride)
        each = nn.Conv(channels, (3, 3), strides, "SAME", feature_group_count=channels, name="depthwise")
        x = Block(each, name="convolved", **settings)(x, train)
        return Block(nn.Conv(self.filters, (1, 1), name="pointwise"), name="mixed", **settings)(x, train)


class DSCNN(ImageNetwork, kw_only=True):
    """Applies a convolution and four separable ones: 23,756 parameters for spectrograms of 49 x 10 and 12 words.

    The published 24,908 also count 1,152 statistics of BatchNorm.

    Attributes:
      channels: filters of the first convolution, and of each separable one.
      window: height and width of the first convolution's windows, in pixels; its stride is 2.
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`.

    Source: Zhang et al., "Hello edge: keyword spotting on microcontrollers", 2017 (arXiv 1711.07128), in the size of
    MLPerf Tiny.
    """

    channels: tuple[int, ...] = (64, 64, 64, 64, 64)
    window: tuple[int, int] = (10, 4)
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for spectrograms x [b, time, frequency, 1], or for images."""
        stages = [(filters, 1) for filters in self.channels[1:]]
        return _apply(self, x, train, (self.channels[0], self.window), stages)


class MobileNetV1(ImageNetwork, kw_only=True):
    """Applies a convolution and 13 separable ones: 216,322 parameters with width=0.25 and 2 classes.

    That is MLPerf Tiny's network for color images of 96 x 96. The published 221,794 also count 5,472
    statistics of BatchNorm.

    Attributes:
      stem: filters of the first convolution, whose stride is 2.
      stages: (filters, stride) of each separable convolution.
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`.

    Source: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017
    (arXiv 1704.04861), table 1.
    """

    stem: int = 32
    stages: tuple[tuple[int, int], ...] = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
                                           (1024, 2), (1024, 1))  # fmt: skip
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        return _apply(self, x, train, (self.stem, (3, 3)), self.stages)


def _apply(
    network: ImageNetwork, x: Array, train: bool, first: tuple[int, tuple[int, int]], stages: Sequence[tuple[int, int]]
) -> Array:
    """Applies the first convolution (filters, window), the separable ones (filters, stride), and a dense layer."""
    check_images(network, x, 1)
    settings, (filters, window) = block_settings(network), first
    stem = nn.Conv(filters_of(network, filters), window, (2, 2), "SAME", name="stem")
    x = Block(stem, first=True, name="block1", **settings)(x, train)
    for number, (filters, stride) in enumerate(stages, start=2):
        sizes = dict(filters=filters_of(network, filters), stride=stride)
        x = Separable(name=f"separable{number}", **sizes, **settings)(x, train)
    return classify(network, x.mean((1, 2)), train)
