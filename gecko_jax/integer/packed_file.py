"""A packed model as one file, and its bytes by purpose; `packed_format` describes the bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from gecko_jax.files import write_atomic
from gecko_jax.integer.packed_format import decode, encode_parts
from gecko_jax.integer.packing import PackedModel, aligned, unpack


class StoredBytes(NamedTuple):
    """The bytes of a packed file by purpose; `total` is its size on disk to the byte.

    Attributes:
      code_bits: bits of all codes, without padding.
      padding_bits: bits that fill codes and raw arrays up to aligned words.
      scale_bytes: bytes of the codes' scales and code books.
      raw_bytes: bytes of everything that is not quantized.
      header_bytes: bytes of the preamble and the header.
      index_bytes: bytes that say where the values of sparse arrays lie.

    >>> stored = StoredBytes(code_bits=90, padding_bits=6, scale_bytes=4, raw_bytes=40, header_bytes=200)
    >>> stored.payload, stored.total
    (56, 256)
    """

    code_bits: int
    padding_bits: int
    scale_bytes: int
    raw_bytes: int
    header_bytes: int
    index_bytes: int = 0

    @property
    def payload(self) -> int:
        """Bytes without the header."""
        return (self.code_bits + self.padding_bits) // 8 + self.scale_bytes + self.raw_bytes + self.index_bytes

    @property
    def total(self) -> int:
        """Bytes of the file."""
        return self.payload + self.header_bytes


def encode(packed: PackedModel) -> bytes:
    """Returns a packed model as the bytes of a file.

    Args:
      packed: from `pack`.

    Returns:
      Header and payload; see `packed_format`.

    >>> encode(PackedModel(()))[:8]
    b'GECKOPAK'
    """
    return b"".join(encode_parts(packed))


def stored_bytes(packed: PackedModel) -> StoredBytes:
    """Counts the bytes of a packed model by purpose, without writing it.

    Args:
      packed: from `pack`.

    Returns:
      The bytes by purpose; their `total` is the length of `encode(packed)`.

    >>> stored_bytes(PackedModel(())).total == len(encode(PackedModel(())))
    True
    """
    header, payload = encode_parts(packed)
    coded = [tensor for tensor in packed.tensors if tensor.scale is not None]
    code_bits = sum(tensor.stored_size * tensor.bits for tensor in coded)
    beside = [array for tensor in coded for array in (tensor.scale, tensor.book) if array is not None]
    scales = sum(array.nbytes for array in beside)
    places = [tensor.places.data for tensor in packed.tensors if tensor.places is not None]
    raw = sum(tensor.data.nbytes for tensor in packed.tensors if tensor.scale is None)
    filled = sum(
        8 * (aligned(tensor.data.nbytes) - tensor.data.nbytes)
        + (8 * tensor.data.nbytes - tensor.stored_size * tensor.bits if tensor.scale is not None else 0)
        for tensor in packed.tensors
    ) + sum(8 * (aligned(array.nbytes) - array.nbytes) for array in [*beside, *places])
    del payload
    return StoredBytes(code_bits, filled, scales, raw, len(header), sum(array.nbytes for array in places))


def write(path: str | os.PathLike, packed: PackedModel) -> StoredBytes:
    """Writes a packed model; another process reads either the old file or the complete new one.

    Args:
      path: the file; its folder is created if absent.
      packed: from `pack`.

    Returns:
      The file's bytes by purpose.

    Raises:
      OSError: see `files.write_atomic`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.packed"
    >>> write(path, PackedModel(())).total == path.stat().st_size
    True
    """
    write_atomic(path, encode(packed))
    return stored_bytes(packed)


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Reads the variables of a packed file, with w_hat in the place of each quantized weight; see `unpack`.

    Args:
      path: the file.

    Returns:
      {"params": {...}, ...} as NumPy arrays.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file of another kind or version, or one that is truncated or damaged.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.packed"
    >>> import numpy as np
    >>> from gecko_jax.integer import PackedTensor
    >>> _ = write(path, PackedModel((PackedTensor(("params", "b"), (2,), 32, None, None, np.ones(2), None),)))
    >>> read(path)
    {'params': {'b': array([1., 1.])}}
    """
    return unpack(read_packed(path))


def read_packed(path: str | os.PathLike) -> PackedModel:
    """Reads a packed file without computing w_hat.

    Args:
      path: the file.

    Returns:
      What `pack` returned.

    Raises:
      FileNotFoundError, ValueError: as `read`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.packed"
    >>> _ = write(path, PackedModel(()))
    >>> read_packed(path)
    PackedModel(tensors=())
    """
    return decode(Path(path).read_bytes(), str(path))
