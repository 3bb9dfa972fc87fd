"""Normalization by name, the same for every architecture.

  "batch"  over the examples of a batch and all positions, for each channel     what binary networks are trained with
  "group"  over a group of channels and all positions, for each example         its replacement in private training
  "layer"  over all channels and positions, for each example                    the same in one group

Only the first couples examples: private training refuses it, and only it has statistics to keep.
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.checks import one_of
from gecko_jax.types import Array

KINDS = ("batch", "group", "layer")
MAX_GROUPS, MIN_CHANNELS_PER_GROUP = 8, 4
EPSILON = 1e-4


def kind_of(normalize: bool | str) -> str | None:
    """Returns the kind that an architecture's option names: "batch" for True, None for False.

    Raises:
      ValueError: any other value that is not one of KINDS.

    >>> kind_of(True), kind_of(False), kind_of("group")
    ('batch', None, 'group')
    """
    if isinstance(normalize, bool):
        return "batch" if normalize else None
    return one_of("normalize", normalize, KINDS)


def groups_of(channels: int) -> int:
    """Returns the largest number of groups, up to 8, that divides the channels into groups of 4 or more; else 1.

    Two numbers that are normalized together are always -1 and +1, and one alone is always 0. A dense layer has no
    positions beside its channels, so that small groups would lose almost everything.

    >>> groups_of(64), groups_of(8), groups_of(7)
    (8, 2, 1)
    """
    divisors = [g for g in range(1, MAX_GROUPS + 1) if channels % g == 0 and channels // g >= MIN_CHANNELS_PER_GROUP]
    return max(divisors, default=1)


def apply_norm(x: Array, train: bool, kind: str) -> Array:
    """Normalizes x to mean 0 and variance 1, and applies each channel's trained scale and bias.

    The layer becomes a child of the calling module. Over an image, "layer" takes all positions together, as Ba et al.
    2016 do, not each by itself; "group" is Wu and He 2018.

    Args:
      x: a batch of features [b, channels] or of images [b, height, width, channels].
      train: whether "batch" uses this batch's statistics instead of the running ones.
      kind: one of KINDS.

    Returns:
      An array of x's shape.
    """
    if kind == "batch":
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=EPSILON)(x)
    if kind == "group":
        return nn.GroupNorm(groups_of(x.shape[-1]), epsilon=EPSILON)(x)
    return nn.LayerNorm(epsilon=EPSILON, reduction_axes=tuple(range(1, x.ndim)), feature_axes=-1)(x)
