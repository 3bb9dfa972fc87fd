"""A model's variables as a device stores them: small integers packed at their own width, float32 scales, raw floats.

A k-bit code is an integer on a grid offset + step * level, 0 <= level < 2^k; the levels lie one after the other, the
lowest bit first, in little-endian words. So one bit means -1 (0) or +1 (1), and two bits hold {-1, 0, +1}.

Host side: NumPy in and out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax.checks import between, one_of
from gecko_jax.models.quantized import STATES
from gecko_jax.models.trace import WEIGHTS, trace
from gecko_jax.trees import path_name
from gecko_jax.types import Array, Model, Variables

ALIGNMENT = 4  # bytes; each array in a file starts at a multiple, so that a device can read words in place


def pack_bits(levels: Array, bits: int, word: Any = np.uint8) -> np.ndarray:
    """Packs non-negative integers, `bits` bits each, lowest bit first.

    Args:
      levels: integers in 0..2^bits - 1, of any shape; read in C order.
      bits: 1 to 8.
      word: uint8 or uint32.

    Returns:
      ceil(levels.size * bits / width) words; the bits after the last level are 0.

    Raises:
      ValueError: a level out of range, or another word.

    >>> pack_bits([1, 0, 1, 1], 1).tolist(), pack_bits([1, 2, 3], 2).tolist()
    ([13], [57])
    """
    bits = int(between("bits", bits, 1, 8))
    one_of("word", np.dtype(word).name, ("uint8", "uint32"))
    levels = np.asarray(levels).reshape(-1)
    if levels.size and (levels.min() < 0 or levels.max() >= 1 << bits):
        raise ValueError(f"levels span {levels.min()}..{levels.max()}; {bits} bits hold 0..{(1 << bits) - 1}.")
    stream = np.unpackbits(levels.astype(np.uint8)[:, None], axis=1, count=bits, bitorder="little")
    packed = np.packbits(stream.reshape(-1), bitorder="little")
    size = np.dtype(word).itemsize
    packed = np.pad(packed, (0, -len(packed) % size))
    return packed.view("<u4").astype(np.uint32) if size == 4 else packed


def unpack_bits(words: Array, bits: int, length: int) -> np.ndarray:
    """The first `length` levels of `pack_bits(levels, bits)`, as uint8 [length].

    Raises:
      ValueError: fewer words than `length` levels need.

    >>> unpack_bits(pack_bits([1, 2, 3], 2), 2, 3).tolist()
    [1, 2, 3]
    """
    bits, length = int(between("bits", bits, 1, 8)), int(length)
    words = np.ascontiguousarray(words)
    stream = np.unpackbits(words.astype(words.dtype.newbyteorder("<")).view(np.uint8), bitorder="little")
    if len(stream) < length * bits:
        raise ValueError(f"words hold {len(stream)} bits; {length} levels of {bits} bits need {length * bits}.")
    levels = stream[: length * bits].reshape(length, bits)
    return np.packbits(levels, axis=1, bitorder="little").reshape(-1)


def grid(values: Array, bits: int) -> tuple[int, int]:
    """(offset, step) such that values = offset + step * level with 0 <= level < 2^bits.

    The first that fits of: -1 by 2 (one bit), two's complement, from 0 upwards, the odd numbers -(2^k - 1)..2^k - 1.

    Raises:
      ValueError: no such grid holds the values.
    """
    bits = int(between("bits", bits, 1, 8))
    values, top = np.asarray(values).astype(np.int64), 1 << bits
    choices = [(-1, 2)] if bits == 1 else [(-(top >> 1), 1), (0, 1), (1 - top, 2)]
    for offset, step in choices + ([(0, 1)] if bits == 1 else []):
        levels, rest = np.divmod(values - offset, step)
        if not rest.any() and (not levels.size or (levels.min() >= 0 and levels.max() < top)):
            return offset, step
    raise ValueError(f"codes in {values.min()}..{values.max()}: no grid of {bits} bits holds them; declare more bits.")


class PackedTensor(NamedTuple):
    """One stored array: packed codes with their scale, or raw numbers.

    Attributes:
      path: its place in the variables, ("params", "Dense_0", "kernel").
      shape: of the array.
      bits: of one stored value.
      offset, step: the codes' grid; None for raw numbers.
      data: the packed codes, uint8, or the raw array.
      scale: float32, broadcastable to `shape`; None for raw numbers.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    bits: int
    offset: int | None
    step: int | None
    data: np.ndarray
    scale: np.ndarray | None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class PackedModel(NamedTuple):
    """Every array a device needs, in the order of the variables' tree."""

    tensors: tuple[PackedTensor, ...]


def pack(model: Model, variables: Variables, x: Array) -> PackedModel:
    """Packs a model: quantised weights as codes, all else (biases, statistics, float layers) raw.

    Args:
      model: a float or quantised model; its rules say which weights are codes, and at how many bits.
      variables: its trained variables.
      x: a batch of inputs [b, ...], of which only the shape matters.

    Returns:
      One tensor a leaf, the learned state of weight quantisers excepted: the codes' scales stand for it.

    Raises:
      ValueError: a quantiser's codes do not fit the bits it declares, or codes * scale is not what it computes with.
    """
    quantizers = {call.path: call.weight for call in trace(model, variables, x) if call.weight is not None}
    states = variables["params"].get(STATES, {})
    tensors = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(variables):
        path = tuple(path_name((key,)) for key in keys)
        if path[:2] == ("params", STATES) and path[2].startswith("weight:"):
            continue
        is_weight = path[0] == "params" and path[-1] in WEIGHTS and np.ndim(leaf) >= 2
        quantizer = quantizers.get("/".join(path[1:-1])) if is_weight else None
        if quantizer is None or quantizer.codes is None:
            tensors.append(_raw(path, leaf))
        else:
            tensors.append(_coded(path, quantizer, states.get("weight:" + "/".join(path[1:]), ()), leaf))
    return PackedModel(tuple(tensors))


def _raw(path: tuple[str, ...], leaf: Array) -> PackedTensor:
    array = np.asarray(leaf)
    if array.dtype.kind not in "fiub":  # bfloat16 and its like, which NumPy cannot name: float32 holds them exactly
        array = array.astype(np.float32)
    return PackedTensor(path, array.shape, 8 * array.dtype.itemsize, None, None, array, None)


def _coded(path: tuple[str, ...], quantizer, state, leaf: Array) -> PackedTensor:
    values, scale, bits = quantizer.codes(state, leaf)
    values, scale = np.asarray(values), np.asarray(scale, np.float32)
    offset, step = grid(values, bits)
    levels = (values.astype(np.int64) - offset) // step
    tensor = PackedTensor(path, values.shape, bits, offset, step, pack_bits(levels, bits), scale)
    if not np.array_equal(unpack_tensor(tensor), np.asarray(quantizer.apply(state, leaf), np.float32)):
        raise ValueError(
            f"{'/'.join(path)}: codes * scale of quantiser {quantizer.name!r} differs from what it computes with; "
            "a packed file would not be the model that was evaluated."
        )
    return tensor


def unpack_tensor(tensor: PackedTensor) -> np.ndarray:
    """The array w_hat that a packed tensor stands for."""
    if tensor.scale is None:
        return tensor.data
    levels = unpack_bits(tensor.data, tensor.bits, tensor.size).reshape(tensor.shape).astype(np.float32)
    return (levels * np.float32(tensor.step) + np.float32(tensor.offset)) * tensor.scale


def unpack(packed: PackedModel) -> dict[str, Any]:
    """The variables {"params": {...}, ...} with w_hat in the place of each quantised weight, as NumPy arrays.

    They are for a model whose weights are not quantised once more; input quantisers may stay.
    """
    variables: dict[str, Any] = {}
    for tensor in packed.tensors:
        *parents, name = tensor.path
        node = variables
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = unpack_tensor(tensor)
    return variables
