"""Convolutions as matrix products over patches, for training, privacy and packed signs.

patches            what a kernel sees of an image, and the image's border
windowed_product   a convolution of images with one kernel, a few images at a time: fast on a CPU, inside loops too
ungrouped          a convolution that several models compute side by side, each with its own kernel
by_windows         a convolution in which each example may have its own kernel, or its own gradient of a shared one
"""

from gecko_jax.convolutions.by_windows import by_windows, channels_last, shared_kernel
from gecko_jax.convolutions.patches import add_border, explicit_padding, output_size, patches, stacked_patches, taps
from gecko_jax.convolutions.ungrouped import as_ungrouped
from gecko_jax.convolutions.windowed_product import SCOPE, as_matmul

__all__ = [
    "SCOPE",
    "as_matmul",
    "as_ungrouped",
    "add_border",
    "by_windows",
    "channels_last",
    "explicit_padding",
    "output_size",
    "patches",
    "shared_kernel",
    "stacked_patches",
    "taps",
]
