"""A model's variables as a device stores them: codes packed at their own width, their scales, and raw numbers.

A k-bit code represents a level 0 <= level < 2^k. The levels follow one another, the lowest bit first, in little-endian
words. Most schemes are on a grid, value = offset + step * level: one bit means -1 (0) or +1 (1), and two bits hold
{-1, 0, +1}. Other values ({-4, -2, -1, 0, 1, 2, 4}) have a code book, value = book[level].

w_hat = value * scale has the weights' type. It is computed in float32 (float64 for float64) and rounded once, as in
`Quantizer.apply`.

Weights that pruning has removed are left out if that takes fewer bytes: a tensor with `places` stores the values there.
Kernels with shared weights are codes with their centroids as the code book.

This module runs on the host: NumPy in and out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.compression import REMOVED
from gecko_jax.integer.codes import MAX_CODE_BITS, code_book, grid, pack_bits, unpack_bits
from gecko_jax.integer.places import Places, present_at, shortest_places
from gecko_jax.integer.variable_shapes import check_one_model
from gecko_jax.models.quantized_layers import weight_quantizers
from gecko_jax.models.removed_weights import CODES, MASKS, STATES, without_training_state
from gecko_jax.trees import path_name
from gecko_jax.types import Array, Model, Quantizer, Variables

ALIGNMENT = 4  # bytes; each array in a file starts at a multiple, because a device reads words in place


def aligned(length: int) -> int:
    """Returns the next multiple of the alignment in bytes."""
    return -(-length // ALIGNMENT) * ALIGNMENT


class PackedTensor(NamedTuple):
    """One stored array: packed codes with their scale, or raw numbers.

    Attributes:
      path: its place in the variables, ("params", "Dense_0", "kernel").
      shape: shape of the array.
      bits: bits of one stored value.
      offset, step: the codes' grid; None for raw numbers and with a code book.
      data: the packed codes, uint8, or the raw array; with `places` those of the stored values alone, one axis.
      scale: array that broadcasts to `shape`, of any float type; None for raw numbers.
      book: the value of each level; None for raw numbers and on a grid.
      type: type of w_hat, which is the weights' type; None for raw numbers.
      places: where the stored values lie, if the others are 0; None if all are stored.

    >>> tensor = PackedTensor(("params", "bias"), (2, 3), 32, None, None, np.zeros((2, 3), np.float32), None)
    >>> tensor.size, tensor.stored_size
    (6, 6)
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
    places: Places | None = None

    @property
    def size(self) -> int:
        """How many values the array has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def stored_size(self) -> int:
        """How many of them are stored."""
        return self.size if self.places is None else self.places.values


class PackedModel(NamedTuple):
    """The arrays that a device needs, in the order of the variables' tree."""

    tensors: tuple[PackedTensor, ...]


def pack(model: Model, variables: Variables, x: Array) -> PackedModel:
    """Packs a model: quantized weights as codes, and all else (biases, statistics, float layers) raw, in its own type.

    Pack a model with the variables of `model.init` to learn before training whether it can be packed.

    Args:
      model: a float or quantized model; its rules say which weights are codes, and at how many bits.
      variables: its variables, of any types that NumPy and JAX have (bfloat16 takes 2 bytes a number).
      x: inputs [b, ...], any pytree, of which only shapes and types matter.

    Returns:
      One tensor a leaf. The learned state of weight quantizers is left out, because the codes' scales replace it.
      So are the collections by which a network becomes sparse, because its zeros say as much. A kernel with shared
      weights is one tensor of codes and centroids.

    Raises:
      ValueError: variables of other shapes than the model's, such as those of several models; codes that do not fit
        into the bits that their quantizer declares, codes * scale that differ from what the quantizer computes with,
        quantized weights that are not real floats, or a leaf that is a random key.

    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=(4, 4)), jnp.ones((1, 5))
    >>> model = models.quantized(model, [("", quantizers.binary(), None)])
    >>> packed = pack(model, model.init(jax.random.key(0), x), x)
    >>> [("/".join(t.path[1:]), t.bits, t.data.nbytes) for t in packed.tensors if t.bits == 1]
    [('dense2/kernel', 1, 2)]
    """
    check_one_model(model, variables, x)
    quantizers = weight_quantizers(model, variables, x)
    states = variables["params"].get(STATES, {})
    shared, sparse, tensors = variables.get(CODES, {}), variables.get(MASKS, {}), []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(without_training_state(variables)):
        path = tuple(path_name((key,)) for key in keys)
        if path[0] == CODES or (path[:2] == ("params", STATES) and path[2].startswith("weight:")):
            continue
        name = "/".join(path[1:]) if path[0] == "params" else ""
        quantizer = quantizers.get(name)
        if name in shared:
            tensor = _with_codebook(path, np.asarray(leaf), np.asarray(shared[name]))
        elif quantizer is None or quantizer.codes is None:
            tensor = _raw(path, leaf)
        else:
            tensor = _coded(path, quantizer, states.get(f"weight:{name}", ()), leaf)
        tensors.append(_without_zeros(tensor) if name in sparse else tensor)
    return PackedModel(tuple(tensors))


def _with_codebook(path: tuple[str, ...], centroids: np.ndarray, codes: np.ndarray) -> PackedTensor:
    bits, present = len(centroids).bit_length() - 1, codes != REMOVED
    places = None if present.all() else shortest_places(present)
    packed, scale = pack_bits(codes[present], bits), np.ones((), np.float32)
    return PackedTensor(path, codes.shape, bits, None, None, packed, scale, centroids, centroids.dtype, places)


def _without_zeros(tensor: PackedTensor) -> PackedTensor:
    """Returns the tensor without the values that are 0, if it then takes fewer bytes."""
    w_hat = unpack_tensor(tensor)
    present = w_hat != 0
    if tensor.scale is None:
        data = tensor.data[present]
    else:
        levels = unpack_bits(tensor.data, tensor.bits, tensor.size)
        data = pack_bits(levels[present.ravel()], tensor.bits)
    places = shortest_places(present)
    smaller = aligned(data.nbytes) + aligned(places.data.nbytes) < aligned(tensor.data.nbytes)
    return tensor._replace(data=data, places=places) if smaller else tensor


def _raw(path: tuple[str, ...], leaf: Array) -> PackedTensor:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        raise ValueError(
            f"{'/'.join(path)} has type {leaf.dtype}, which a file cannot hold. Pack jax.random.key_data of it, or "
            "leave it out of the variables."
        )
    array = np.asarray(leaf)
    return PackedTensor(path, array.shape, 8 * array.dtype.itemsize, None, None, array, None)


def _coded(path: tuple[str, ...], quantizer: Quantizer, state: Any, leaf: Array) -> PackedTensor:
    name, dtype = "/".join(path), np.asarray(leaf).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"{name} has type {dtype}; quantizer {quantizer.name!r} takes real floats. Give this layer no rule."
        )
    assert quantizer.codes is not None  # `pack` stores the weights of all others as they are
    values, scale, bits, zero_point = quantizer.codes(state, leaf)
    if np.any(np.asarray(zero_point) != 0):
        raise ValueError(
            f"{name}: quantizer {quantizer.name!r} returns codes with zero_point={zero_point}, and a packed file "
            "stores none. Take a scheme for weights, whose zero point is 0."
        )
    if bits != quantizer.bits:
        raise ValueError(
            f"{name}: quantizer {quantizer.name!r} declares bits={quantizer.bits} and returns codes of {bits} bits; "
            "expected the same."
        )
    if not 1 <= bits <= MAX_CODE_BITS:
        raise ValueError(
            f"{name}: quantizer {quantizer.name!r} has bits={bits}; codes of 1 to {MAX_CODE_BITS} bits can be packed. "
            "Use a scheme of fewer bits, or leave these weights in float."
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
            f"{name}: codes * scale of quantizer {quantizer.name!r} differ from what it computes with, so a packed "
            "file would not be the model that was evaluated. Make its `codes` agree with its `apply`."
        )
    return tensor


def unpack_tensor(tensor: PackedTensor) -> np.ndarray:
    """Returns the array w_hat that a packed tensor represents, in the weights' type."""
    if tensor.scale is None:
        return _spread(tensor, tensor.data)
    levels = unpack_bits(tensor.data, tensor.bits, tensor.stored_size)
    wide = np.float64 if tensor.type == np.float64 else np.float32
    if tensor.book is not None:
        values = tensor.book.astype(wide)[levels]
    else:
        values = levels.astype(wide) * wide(tensor.step) + wide(tensor.offset)
    return (_spread(tensor, values) * tensor.scale.astype(wide)).astype(tensor.type)


def _spread(tensor: PackedTensor, values: np.ndarray) -> np.ndarray:
    """Returns the stored values at their places in the array, and 0 elsewhere."""
    if tensor.places is None:
        return values.reshape(tensor.shape)
    array = np.zeros(tensor.size, values.dtype)
    array[present_at(tensor.places, tensor.size)] = values
    return array.reshape(tensor.shape)


def unpack(packed: PackedModel) -> dict[str, Any]:
    """Returns the variables {"params": {...}, ...} as NumPy arrays, with w_hat in the place of each quantized weight.

    Use them with a model whose weights are not quantized again; its inputs may be.

    Args:
      packed: from `pack` or `read_packed`.

    Returns:
      A nested dictionary of the variables' names.

    >>> unpack(PackedModel((PackedTensor(("params", "b"), (2,), 32, None, None, np.ones(2), None),)))
    {'params': {'b': array([1., 1.])}}
    """
    variables: dict[str, Any] = {}
    for tensor in packed.tensors:
        *parents, name = tensor.path
        node = variables
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = unpack_tensor(tensor)
    return variables
