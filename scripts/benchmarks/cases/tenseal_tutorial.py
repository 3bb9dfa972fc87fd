"""The network of TenSEAL's tutorial 4, "Encrypted convolution on MNIST", run by TenSEAL as the tutorial runs it.

convolution of 4 filters 7x7 with stride 3, square, dense 64, square, dense 10; one image a run; N=8192, moduli of 31,
26 (six times) and 31 bits, scale 2^26. Weights come from the Flax network of `encrypted_networks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

DEGREE, MODULUS_BITS, SCALE = 8192, [31, 26, 26, 26, 26, 26, 26, 31], 2.0**26
WINDOW, STRIDE = 7, 3


def build(variables: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Returns x [28, 28] -> logits [10], encrypted, computed and decrypted by TenSEAL.

    Args:
      variables: of `encrypted_networks.Tutorial`.
    """
    import tenseal

    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=MODULUS_BITS)
    context.global_scale = SCALE
    context.generate_galois_keys()
    weights = {name: {key: np.asarray(each, np.float64) for key, each in layer.items()}
               for name, layer in variables["params"].items()}  # fmt: skip
    kernels = weights["Conv_0"]["kernel"][:, :, 0].transpose(2, 0, 1).tolist()
    channels = len(kernels)
    # Flax flattens [height, width, channel]; TenSEAL packs one channel's windows after another's.
    first = weights["Dense_0"]["kernel"]
    first = first.reshape(-1, channels, first.shape[1]).transpose(1, 0, 2).reshape(first.shape).tolist()
    second = weights["Dense_1"]["kernel"].tolist()
    biases = [weights[name]["bias"].tolist() for name in ("Conv_0", "Dense_0", "Dense_1")]

    def run(image: np.ndarray) -> np.ndarray:
        encrypted, windows = tenseal.im2col_encoding(context, image.tolist(), WINDOW, WINDOW, STRIDE)
        outputs = [
            encrypted.conv2d_im2col(kernel, windows) + bias for kernel, bias in zip(kernels, biases[0], strict=True)
        ]
        packed = tenseal.CKKSVector.pack_vectors(outputs)
        packed.square_()
        packed = packed.mm(first) + biases[1]
        packed.square_()
        packed = packed.mm(second) + biases[2]
        return np.array(packed.decrypt())

    return run
