"""What the networks for images share: their settings, their convolutions and their last layers.

  Composed        the settings that a network hands to its parts: order, activation, normalization
  ImageNetwork    a network of images [batch, height, width, channels], with a factor on its numbers of filters

A convolution is padded by the same number of pixels on all sides, as the papers' own code does, and not by "SAME",
which at a stride of 2 pads the end alone. The networks of MLPerf Tiny are padded by "SAME", as their references are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from gecko_jax.checks import positive
from gecko_jax.models.blocks import Block, block_settings
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.types import Array


class Composed(nn.Module):
    """A module that is made of blocks, or of parts that are.

    Attributes:
      order, activation, activation_options, normalize: see `blocks.Block`.
    """

    order: str = "post"
    activation: str = "relu"
    activation_options: Mapping[str, Any] | None = None
    normalize: bool | str = False


class ImageNetwork(Composed, kw_only=True):
    """A classifier of images, whose numbers of filters and units are multiplied by `width`.

    Attributes:
      num_classes: number of outputs.
      width: factor on the filters or units of every layer but the last, above 0.
    """

    num_classes: int
    width: float = 1.0


def filters_of(network: ImageNetwork, filters: int) -> int:
    """Returns the number of filters or units of a layer, at least 1.

    Args:
      network: the network, with its `width`.
      filters: the number at width 1.

    >>> filters_of(ImageNetwork(num_classes=10, width=0.25), 64)
    16
    """
    return max(1, round(filters * positive("width", network.width)))


def check_images(network: ImageNetwork, x: Array, side: int) -> None:
    """Raises ValueError unless x is a batch of images of at least side x side pixels.

    Args:
      network: the network that takes them.
      x: what it was given.
      side: the smallest height and width, in pixels.
    """
    if x.ndim != 4 or min(x.shape[1:3]) < side:
        raise ValueError(
            f"x has shape {x.shape}; {type(network).__name__} takes images [batch, height >= {side}, width >= {side}, "
            "channels]. Enlarge smaller images, or take a network with fewer pools."
        )


def convolution(filters: int, side: int, name: str, **options: Any) -> nn.Conv:
    """Returns a convolution that keeps height and width at a stride of 1.

    Args:
      filters: number of filters.
      side: of the window, in pixels; odd.
      name: of the layer in the module that calls it.
      **options: of `flax.linen.Conv`, such as strides, feature_group_count and use_bias.
    """
    return nn.Conv(filters, (side, side), padding=side // 2, name=name, **options)


def unbiased(module: Composed) -> dict[str, bool]:
    """Returns the option of `nn.Conv` that leaves out the bias if a normalization takes it out anyway.

    Args:
      module: the network or part that the convolution belongs to.

    >>> unbiased(Composed(normalize="batch")), unbiased(Composed())
    ({'use_bias': False}, {'use_bias': True})
    """
    return {"use_bias": kind_of(module.normalize) is None and module.order == "post"}


def classify(network: ImageNetwork, x: Array, train: bool, hidden: Sequence[int] = (), blocks: int = 0) -> Array:
    """Returns logits [b, classes] by dense blocks and a last dense layer, which become children of the network.

    Args:
      network: the network.
      x: its features [b, ...], which are flattened.
      train: the training switch.
      hidden: units of the dense blocks, at width 1.
      blocks: how many blocks the network has before them, from which theirs are numbered on.
    """
    x = x.reshape(x.shape[0], -1)
    for i, units in enumerate(hidden, start=1):
        dense = nn.Dense(filters_of(network, units), name=f"dense{i}")
        x = Block(dense, name=f"block{blocks + i}", **block_settings(network))(x, train)
    if network.order == "xnor":
        x = apply_norm(x, train, kind_of(network.normalize) or "batch")
    return nn.Dense(network.num_classes, name="logits")(x)
