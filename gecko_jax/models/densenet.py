"""DenseNet for small images: every layer reads the outputs of all layers before it of the same stage.

In the order "post" a layer is the paper's own norm -> activation -> convolution, in the order "xnor"
norm -> [sign] -> convolution -> activation, as in every other network.
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
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.models.pooling import POOLS
from gecko_jax.types import Array


class Preactivated(Composed, kw_only=True):
    """Normalizes, activates and calls a layer, in this order; in the order "xnor" it is a `blocks.Block`.

    Attributes:
      layer: the layer to call; None leaves the activated input as it is.
    """

    layer: nn.Module | None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns the layer's outputs for x [b, height, width, channels]."""
        if self.order == "xnor":
            return Block(self.layer, **block_settings(self))(x, train) if self.layer is not None else x
        kind = kind_of(self.normalize)
        x = apply_norm(x, train, kind) if kind else x
        x = activate(activations.create(self.activation, self.activation_options), x, train)
        return x if self.layer is None else self.layer(x)


class DenseLayer(Composed, kw_only=True):
    """Appends new channels to its input.

    Attributes:
      growth: how many.
      bottleneck: whether a convolution of 1 x 1 to 4 growth channels comes first.
    """

    growth: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, height, width, channels + growth] for x [b, height, width, channels]."""
        y, settings, bias = x, block_settings(self), unbiased(self)
        if self.bottleneck:
            narrow = convolution(4 * self.growth, 1, "narrow", **bias)
            y = Preactivated(layer=narrow, name="narrowed", **settings)(y, train)
        y = Preactivated(layer=convolution(self.growth, 3, "conv", **bias), name="grown", **settings)(y, train)
        return jnp.concatenate([x, y], axis=-1)


class DenseNet40(ImageNetwork, kw_only=True):
    """Applies 39 convolutions and a dense layer: 1,019,722 parameters for color images of 10 classes.

    DenseNet-BC-100 (769,162 parameters) has layers=(16, 16, 16), bottleneck=True and compression=0.5. Dropout is left
    out.

    Attributes:
      layers: of each stage; between stages a convolution of 1 x 1 and a pool of 2.
      growth: channels that a layer adds.
      bottleneck: see `DenseLayer`; with it the first convolution has 2 growth filters, else 16.
      compression: share of the channels that the convolution between stages keeps, in (0, 1].
      pooling: "average", as published, or "max".
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      num_classes, width: see `image_network.ImageNetwork`; `width` multiplies the growth.

    Source: Huang et al., "Densely connected convolutional networks", CVPR 2017 (arXiv 1608.06993), section 3.
    """

    layers: tuple[int, ...] = (12, 12, 12)
    growth: int = 12
    bottleneck: bool = False
    compression: float = 1.0
    pooling: str = "average"
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns logits [b, classes] for images x [b, height, width, channels]."""
        check_images(self, x, 2 ** (len(self.layers) - 1))
        settings, bias, growth = block_settings(self), unbiased(self), filters_of(self, self.growth)
        stem = convolution(2 * growth if self.bottleneck else filters_of(self, 16), 3, "stem", **bias)
        x = stem(x) if self.order == "post" else Block(stem, first=True, name="block1", **settings)(x, train)
        for stage, layers in enumerate(self.layers, start=1):
            if stage > 1:
                between = convolution(max(1, int(x.shape[-1] * self.compression)), 1, f"between{stage}", **bias)
                x = Preactivated(layer=between, name=f"transition{stage}", **settings)(x, train)
                x = POOLS[self.pooling](x, 2)
            for i in range(layers):
                name = f"stage{stage}_layer{i + 1}"
                x = DenseLayer(growth=growth, bottleneck=self.bottleneck, name=name, **settings)(x, train)
        x = Preactivated(layer=None, name="activated", **settings)(x, train)
        return classify(self, x.mean((1, 2)), train)
