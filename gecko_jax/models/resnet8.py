"""ResNet-8, MLPerf Tiny's network for images of 32 x 32: three pairs of convolutions, each with its input added.

Between stages the shortcut is a convolution of 1 x 1 without normalization. Borders, biases and what else differs from
the reference: see `separable`.
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax import activations
from gecko_jax.models.blocks import Block, activate, block_settings
from gecko_jax.models.image_network import Composed, ImageNetwork, check_images, classify, filters_of
from gecko_jax.types import Array


class Projected(Composed, kw_only=True):
    """Adds two convolutions to their input, or to a convolution of 1 x 1 of it if the shape changes.

    In the order "post" the sum is activated, in the order "xnor" it is left as it is and the next block normalizes it.

    Attributes:
      filters: of each convolution.
      stride: of the first, and of the shortcut, in pixels.
    """

    filters: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, ceil(height / stride), ceil(width / stride), filters] for x [b, height, width, channels]."""
        settings, strides = block_settings(self), (self.stride, self.stride)
        linear = {**settings, "activation": "identity", "activation_options": None}
        y = Block(nn.Conv(self.filters, (3, 3), strides, "SAME", name="conv1"), name="block1", **settings)(x, train)
        y = Block(nn.Conv(self.filters, (3, 3), (1, 1), "SAME", name="conv2"), name="block2", **linear)(y, train)
        if self.stride != 1 or x.shape[-1] != self.filters:
            if self.order == "post":
                linear["normalize"] = False
            x = Block(nn.Conv(self.filters, (1, 1), strides, name="shortcut"), name="shortened", **linear)(x, train)
        if self.order == "xnor":
            return x + y
        return activate(activations.create(self.activation, self.activation_options), x + y, train)


class ResNet8(ImageNetwork, kw_only=True):
    """Applies 9 convolutions and a dense layer: 78,186 parameters for color images of 10 classes.

    The published 78,666 also count 480 statistics of BatchNorm.

    Attributes:
      channels: filters of each stage; every stage but the first halves height and width.
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`.

    Source: Banbury et al., "MLPerf Tiny benchmark", NeurIPS 2021 (arXiv 2106.07597).
    """

    channels: tuple[int, ...] = (16, 32, 64)
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, 1)
        settings, filters = block_settings(self), [filters_of(self, each) for each in self.channels]
        stem = nn.Conv(filters[0], (3, 3), (1, 1), "SAME", name="stem")
        x = Block(stem, first=True, name="block1", **settings)(x, train)
        for stage, each in enumerate(filters, start=1):
            x = Projected(name=f"stage{stage}", filters=each, stride=2 if stage > 1 else 1, **settings)(x, train)
        return classify(self, x.mean((1, 2)), train)
