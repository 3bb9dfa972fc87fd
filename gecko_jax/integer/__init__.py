"""The network as the device sees it: packed weights, products on packed signs, and the frozen integer network.

  pack -> write -> read        a model's variables in a file, binary weights at one bit each
  pack_signs, xnor_matmul      products of +-1 vectors on 32-bit words
  binary_dense, binary_conv    the quantized layers of a network by these products
  plan_arena, check_arena      one block of memory for all activations, planned before the network runs
  tflm_greedy, offline_plan    what TFLM would plan by itself, and a plan in the form that it obeys
  freeze -> IntegerGraph       a traced model as integers alone: run, predict, cost, arena
  save_graph, load_graph       the integer network as a file

What a model costs on a device is in `gecko_jax.costs`.
"""

from gecko_jax.integer.arena import ArenaPlan, check_arena, plan_arena
from gecko_jax.integer.binary_layers import binary_conv, binary_dense
from gecko_jax.integer.codes import pack_bits, unpack_bits
from gecko_jax.integer.freezing import freeze
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.graph_file import decode_graph, encode_graph, load_graph, save_graph
from gecko_jax.integer.packed_file import StoredBytes, encode, read, read_packed, stored_bytes, write
from gecko_jax.integer.packing import PackedModel, PackedTensor, pack, unpack
from gecko_jax.integer.placement import liveness_bound
from gecko_jax.integer.signs import pack_kernel, pack_signs
from gecko_jax.integer.tflm_memory import OFFLINE_PLAN_NAME, as_tflm, offline_plan, tflm_greedy
from gecko_jax.integer.xnor import xnor_conv, xnor_matmul, xnor_matmul_transposed

__all__ = [
    "OFFLINE_PLAN_NAME",
    "ArenaPlan",
    "IntegerGraph",
    "PackedModel",
    "PackedTensor",
    "StoredBytes",
    "as_tflm",
    "binary_conv",
    "binary_dense",
    "check_arena",
    "decode_graph",
    "encode",
    "encode_graph",
    "liveness_bound",
    "load_graph",
    "offline_plan",
    "freeze",
    "pack",
    "pack_bits",
    "pack_kernel",
    "pack_signs",
    "plan_arena",
    "read",
    "read_packed",
    "save_graph",
    "stored_bytes",
    "tflm_greedy",
    "unpack",
    "unpack_bits",
    "write",
    "xnor_conv",
    "xnor_matmul",
    "xnor_matmul_transposed",
]
