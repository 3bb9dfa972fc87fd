"""Normalization by name, for every architecture alike.

  "batch"  over the examples of a batch and all positions, for each channel     what binary networks are trained with
  "group"  over a group of channels and all positions, for each example         what private training takes in its place
  "layer"  over all channels and positions, for each example                    the same in one group

Only the first couples examples: private training refuses it, and only it has statistics to keep.
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.checks import one_of
from gecko_jax.types import Array

KINDS = ("batch", "group", "layer")
MOST_GROUPS, FEWEST_CHANNELS = 8, 4
EPSILON = 1e-4


def kind_of(normalize: bool | str) -> str | None:
    """A kind from an architecture's option: True is "batch", False None.

    Raises:
      ValueError: for any other value that is no kind.
    """
    if isinstance(normalize, bool):
        return "batch" if normalize else None
    return one_of("normalize", normalize, KINDS)


def groups_of(channels: int) -> int:
    """The most groups, up to 8, that divide the channels and leave 4 or more of them to each; else 1.

    Two numbers that are normalized together are always -1 and +1, and one is always 0: a dense layer has no positions
    beside its channels, so that small groups would keep next to nothing of it.
    """
    fitting = [g for g in range(1, MOST_GROUPS + 1) if channels % g == 0 and channels // g >= FEWEST_CHANNELS]
    return max(fitting, default=1)


def apply_norm(x: Array, train: bool, kind: str) -> Array:
    """x [b, ..., channels] at mean 0 and variance 1, times a scale plus a bias, both trained, for each channel.

    The layer is a child of the module that calls. Over an image, "layer" takes all positions together, as Ba et al.
    2016 do, not each by itself; "group" is Wu and He 2018.

    Args:
      x: a batch of features [b, channels] or of images [b, height, width, channels].
      train: whether "batch" takes this batch's statistics, and not the running ones.
      kind: one of KINDS.
    """
    if kind == "batch":
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=EPSILON)(x)
    if kind == "group":
        return nn.GroupNorm(groups_of(x.shape[-1]), epsilon=EPSILON)(x)
    return nn.LayerNorm(epsilon=EPSILON, reduction_axes=tuple(range(1, x.ndim)), feature_axes=-1)(x)
