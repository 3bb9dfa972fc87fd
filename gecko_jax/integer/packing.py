"""A model's variables as a device stores them: codes packed at their own width, their scales, and raw numbers.

A k-bit code stands for a level 0 <= level < 2^k; the levels lie one after the other, the lowest bit first, in
little-endian words. Most schemes are on a grid, value = offset + step * level: one bit means -1 (0) or +1 (1), and two
bits hold {-1, 0, +1}. Values on no such grid ({-4, -2, -1, 0, 1, 2, 4}) have a code book, value = book[level].

w_hat = value * scale has the weights' own type: it is computed in float32 (float64 for float64) and rounded once, as
`Quantizer.apply` does.

Host side: NumPy in and out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import between, one_of
from gecko_jax.models.quantized import STATES, weight_quantizers
from gecko_jax.trees import path_name
from gecko_jax.types import Array, Model, Quantizer, Variables

MAX_CODE_BITS = 8
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
    bits = int(between("bits", bits, 1, MAX_CODE_BITS))
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
    bits, length = int(between("bits", bits, 1, MAX_CODE_BITS)), int(length)
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
    bits = int(between("bits", bits, 1, MAX_CODE_BITS))
    values, top = np.asarray(values), 1 << bits
    if not np.array_equal(values, np.round(values)):
        raise ValueError("codes are no integers: no grid holds them.")
    values = values.astype(np.int64)
    choices = [(-1, 2)] if bits == 1 else [(-(top >> 1), 1), (0, 1), (1 - top, 2)]
    for offset, step in choices + ([(0, 1)] if bits == 1 else []):
        levels, rest = np.divmod(values - offset, step)
        if not rest.any() and (not levels.size or (levels.min() >= 0 and levels.max() < top)):
            return offset, step
    raise ValueError(f"codes in {values.min()}..{values.max()}: no grid of {bits} bits holds them; declare more bits.")


def code_book(values: Array, bits: int) -> np.ndarray:
    """Returns the distinct values, ascending, as int8 if that holds them, else int32 or float32.

    Raises:
      ValueError: more than 2^bits of them.

    >>> code_book([4, -1, 0, 1, 4], 2).tolist()
    [-1, 0, 1, 4]
    """
    between("bits", bits, 1, MAX_CODE_BITS)
    book = np.unique(np.asarray(values).astype(np.float64))
    if len(book) > 1 << bits:
        raise ValueError(
            f"codes take {len(book)} values in {book[0]:g}..{book[-1]:g}; {bits} bits hold {1 << bits}. Declare more "
            "bits, or take the same levels in every filter and put what differs into the scale."
        )
    for kind in (np.int8, np.int32) if np.array_equal(book, np.round(book)) else ():
        if np.iinfo(kind).min <= book[0] and book[-1] <= np.iinfo(kind).max:
            return book.astype(kind)
    if not np.array_equal(book.astype(np.float32).astype(np.float64), book.astype(np.float64)):
        raise ValueError(f"codes in {book[0]}..{book[-1]} are not exact in float32; take smaller integers and a scale.")
    return book.astype(np.float32)


class PackedTensor(NamedTuple):
    """One stored array: packed codes with their scale, or raw numbers.

    Attributes:
      path: its place in the variables, ("params", "Dense_0", "kernel").
      shape: of the array.
      bits: of one stored value.
      offset, step: the codes' grid; None for raw numbers and with a code book.
      data: the packed codes, uint8, or the raw array.
      scale: broadcastable to `shape`, of any float type; None for raw numbers.
      book: the value of each level; None for raw numbers and on a grid.
      type: of w_hat, the weights' own type; None for raw numbers.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    bits: int
    offset: int | None
    step: int | None
    data: np.ndarray
    scale: np.ndarray | None
    book: np.ndarray | None = None
    type: np.dtype | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class PackedModel(NamedTuple):
    """Every array a device needs, in the order of the variables' tree."""

    tensors: tuple[PackedTensor, ...]


def pack(model: Model, variables: Variables, x: Array) -> PackedModel:
    """Packs a model: quantised weights as codes, all else (biases, statistics, float layers) raw, in its own type.

    Packed with the variables of `model.init`, a model tells before it is trained whether it can be.

    Args:
      model: a float or quantised model; its rules say which weights are codes, and at how many bits.
      variables: its trained variables, of any types that NumPy and JAX have (bfloat16 takes 2 bytes a number).
      x: a batch of inputs [b, ...], of which only the shape matters.

    Returns:
      One tensor a leaf, the learned state of weight quantisers excepted: the codes' scales stand for it.

    Raises:
      ValueError: a quantiser's codes do not fit the bits it declares, or codes * scale is not what it computes with;
        its codes have other bits than it; quantized weights that are not real floats; a leaf that is a random key.
    """
    quantizers = weight_quantizers(model, variables, x)
    states = variables["params"].get(STATES, {})
    tensors = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(variables):
        path = tuple(path_name((key,)) for key in keys)
        if path[:2] == ("params", STATES) and path[2].startswith("weight:"):
            continue
        quantizer = quantizers.get("/".join(path[1:])) if path[0] == "params" else None
        if quantizer is None or quantizer.codes is None:
            tensors.append(_raw(path, leaf))
        else:
            tensors.append(_coded(path, quantizer, states.get("weight:" + "/".join(path[1:]), ()), leaf))
    return PackedModel(tuple(tensors))


def _raw(path: tuple[str, ...], leaf: Array) -> PackedTensor:
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.extended):
        raise ValueError(
            f"{'/'.join(path)} has type {leaf.dtype}, which no file holds. Take jax.random.key_data of it, or leave it "
            "out of the variables that are packed."
        )
    array = np.asarray(leaf)
    return PackedTensor(path, array.shape, 8 * array.dtype.itemsize, None, None, array, None)


def _coded(path: tuple[str, ...], quantizer: Quantizer, state: Any, leaf: Array) -> PackedTensor:
    name, dtype = "/".join(path), np.asarray(leaf).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{name} has type {dtype}; quantizer {quantizer.name!r} takes real floats. Leave it in float.")
    values, scale, bits = quantizer.codes(state, leaf)
    if bits != quantizer.bits:
        raise ValueError(f"{name}: {quantizer.name!r} has bits={quantizer.bits}, its codes {bits}: both must agree.")
    if not 1 <= bits <= MAX_CODE_BITS:
        raise ValueError(
            f"{name}: quantizer {quantizer.name!r} has bits={bits}; codes of 1 to {MAX_CODE_BITS} can be packed. Take "
            "a scheme of fewer bits, or leave these weights in float."
        )
    values, scale = np.asarray(values), np.asarray(scale)
    try:
        offset, step, book = *grid(values, bits), None
        levels = (values.astype(np.int64) - offset) // step
    except ValueError:
        offset, step, book = None, None, code_book(values, bits)
        levels = np.searchsorted(book, values)
    packed, w_hat = pack_bits(levels, bits), np.asarray(quantizer.apply(state, leaf))
    tensor = PackedTensor(path, values.shape, bits, offset, step, packed, scale, book, w_hat.dtype)
    if not np.array_equal(unpack_tensor(tensor), w_hat):
        raise ValueError(
            f"{name}: codes * scale of quantiser {quantizer.name!r} differs from what it computes with; "
            "a packed file would not be the model that was evaluated."
        )
    return tensor


def unpack_tensor(tensor: PackedTensor) -> np.ndarray:
    """The array w_hat that a packed tensor stands for, in the weights' own type."""
    if tensor.scale is None:
        return tensor.data
    levels = unpack_bits(tensor.data, tensor.bits, tensor.size).reshape(tensor.shape)
    wide = np.float64 if tensor.type == np.float64 else np.float32
    if tensor.book is not None:
        values = tensor.book.astype(wide)[levels]
    else:
        values = levels.astype(wide) * wide(tensor.step) + wide(tensor.offset)
    return (values * tensor.scale.astype(wide)).astype(tensor.type)


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
