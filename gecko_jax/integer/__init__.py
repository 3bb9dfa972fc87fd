"""The network as the device sees it: packed weights and products on packed signs.

  pack -> write -> read        a model's variables in a file, binary weights at one bit each
  pack_signs, xnor_matmul      products of +-1 vectors on 32-bit words
"""

from gecko_jax.integer.packed_file import StoredBytes, encode, read, read_packed, stored_bytes, write
from gecko_jax.integer.packing import PackedModel, PackedTensor, pack, pack_bits, unpack, unpack_bits
from gecko_jax.integer.xnor import (
    binary_conv,
    binary_dense,
    pack_kernel,
    pack_signs,
    xnor_conv,
    xnor_matmul,
    xnor_matmul_transposed,
)

__all__ = [
    "PackedModel",
    "PackedTensor",
    "StoredBytes",
    "binary_conv",
    "binary_dense",
    "encode",
    "pack",
    "pack_bits",
    "pack_kernel",
    "pack_signs",
    "read",
    "read_packed",
    "stored_bytes",
    "unpack",
    "unpack_bits",
    "write",
    "xnor_conv",
    "xnor_matmul",
    "xnor_matmul_transposed",
]
