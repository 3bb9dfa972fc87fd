"""Convolutions as matrix products over windows, for training, privacy and packed signs.

  windows      a convolution of images by one kernel, a few images at a time: fast on a CPU, inside loops too
  by_windows   a convolution in which each example may have its own kernel, or its own gradient of a shared one
"""

from gecko_jax.convolutions.by_windows import by_windows, channels_last, shared_kernel, windows_of
from gecko_jax.convolutions.windows import SCOPE, as_matmul, bordered, explicit_padding, patches

__all__ = [
    "SCOPE",
    "as_matmul",
    "bordered",
    "by_windows",
    "channels_last",
    "explicit_padding",
    "patches",
    "shared_kernel",
    "windows_of",
]
