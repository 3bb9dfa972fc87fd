"""The bytes of a packed model. All numbers are little-endian.

  0   8 bytes   magic "GECKOPAK"
  8   uint32    version: 3 if a tensor has places, 2 if the file uses another feature marked *, else 1
  12  uint32    length of the header in bytes, a multiple of 4
  16  uint32    CRC32 of the header
  20  header    JSON, UTF-8, padded with spaces:
                {"payload": bytes, "crc32": of the payload, "tensors": [{"path": [...], "shape": [...], "bits": k,
                 "at": offset in the payload, and either "type": "<f4" (raw; * or a name, "bfloat16"), or
                 "grid": [offset, step] (* or "book_at": offset, "book_type": "|i1", "book_length": levels),
                 "scale_shape": [...], "scale_at": offset (* "scale_type" and "value_type", unless "<f4")
                 (* and "places": {"bits": b, "levels": l, "values": n, "at": offset} of a sparse array)}]}
  ..  payload   raw arrays in C order, codes as `codes.pack_bits` packs them, scales, code books; each starts at a
                multiple of 4 bytes, and the bytes between are 0

The value of a code is (grid offset + grid step * level) * scale, or book[level] * scale, computed in float32 (float64
if "value_type" is float64) and rounded to "value_type". A sparse array stores its n values that are not 0, in C order,
and where they lie: a bitmap in C order if b is 1, else l gaps of b bits as `compression.gap_levels` writes them.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from gecko_jax.integer.packing import ALIGNMENT, PackedModel, PackedTensor, aligned
from gecko_jax.integer.places import Places
from gecko_jax.json_values import dumps

MAGIC = b"GECKOPAK"
VERSIONS = (1, 2, 3)
_NAMED_BY_NUMPY = "fiubc"  # kinds of types that have a name such as "<f4"
_PREAMBLE = struct.Struct("<8sIII")


def encode_parts(packed: PackedModel) -> tuple[bytes, bytes]:
    """Returns (header, payload) of a packed model."""
    payload, entries = bytearray(), []

    def append(array: np.ndarray) -> int:
        at = len(payload)
        array = np.ascontiguousarray(array)
        if array.dtype.kind not in _NAMED_BY_NUMPY:
            array = array.view(f"u{array.dtype.itemsize}")
        payload.extend(array.astype(array.dtype.newbyteorder("<")).tobytes())
        payload.extend(bytes(aligned(len(payload)) - len(payload)))
        return at

    for tensor in packed.tensors:
        entry = {"path": tensor.path, "shape": tensor.shape, "bits": tensor.bits, "at": append(tensor.data)}
        if tensor.scale is None:
            entry["type"] = _type_name(tensor.data.dtype)
        else:
            if tensor.book is None:
                entry["grid"] = (tensor.offset, tensor.step)
            entry["scale_shape"], entry["scale_at"] = tensor.scale.shape, append(tensor.scale)
            if tensor.scale.dtype != np.float32:
                entry["scale_type"] = _type_name(tensor.scale.dtype)
            if tensor.type is not None and tensor.type != np.float32:
                entry["value_type"] = _type_name(tensor.type)
            if tensor.book is not None:
                entry["book_type"], entry["book_length"] = _type_name(tensor.book.dtype), len(tensor.book)
                entry["book_at"] = append(tensor.book)
        if tensor.places is not None:
            entry["places"] = {**tensor.places._asdict(), "at": append(tensor.places.data)}
            del entry["places"]["data"]
        entries.append(entry)
    sparse = any("places" in entry for entry in entries)
    newer = any(
        not entry.keys().isdisjoint(("book_at", "scale_type", "value_type")) or entry.get("type", "<")[0] not in "<|"
        for entry in entries
    )
    content = bytes(payload)
    fields = {"payload": len(content), "crc32": zlib.crc32(content), "tensors": entries}
    header = dumps(fields, separators=(",", ":")).encode()
    header += b" " * (-(_PREAMBLE.size + len(header)) % ALIGNMENT)
    return _PREAMBLE.pack(MAGIC, VERSIONS[2 if sparse else newer], len(header), zlib.crc32(header)) + header, content


def decode(content: bytes, name: str) -> PackedModel:
    """Reads the bytes of a packed model; `name` is of the file, for messages. Raises ValueError as `read` does."""
    if len(content) < _PREAMBLE.size or content[:8] != MAGIC:
        raise ValueError(f"{name} is not a packed model: it does not begin with {MAGIC.decode()!r}.")
    _, version, length, crc = _PREAMBLE.unpack_from(content)
    if version not in VERSIONS:
        raise ValueError(
            f"{name} has version {version}; this library reads versions {VERSIONS[0]} to {VERSIONS[-1]}. Pack the "
            "model again, or read the file with a newer library."
        )
    header, payload = content[_PREAMBLE.size : _PREAMBLE.size + length], content[_PREAMBLE.size + length :]
    if len(header) < length:
        raise ValueError(f"{name} is truncated: its header has {len(header)} of {length} bytes. Write it again.")
    if zlib.crc32(header) != crc:
        raise ValueError(f"{name} is damaged: its header does not match its checksum. Write it again.")
    fields = json.loads(header)
    if len(payload) != fields["payload"]:
        raise ValueError(
            f"{name} has a payload of {len(payload)} bytes; its header names {fields['payload']}. Write it again."
        )
    if zlib.crc32(payload) != fields["crc32"]:
        raise ValueError(f"{name} is damaged: its payload does not match its checksum. Write it again.")
    return PackedModel(tuple(_tensor(entry, payload) for entry in fields["tensors"]))


def _tensor(entry: dict[str, Any], payload: bytes) -> PackedTensor:
    path, shape, bits = tuple(entry["path"]), tuple(entry["shape"]), entry["bits"]
    size = int(np.prod(shape, dtype=np.int64))
    places, stored = _places(entry.get("places"), payload), size
    if places is not None:
        stored = places.values
    if "type" in entry:
        data = _array(payload, entry["type"], stored, entry["at"])
        data = data.reshape(shape) if places is None else data
        return PackedTensor(path, shape, bits, None, None, data, None, places=places)
    codes = np.frombuffer(payload, np.uint8, -(-stored * bits // 8), entry["at"]).copy()
    scale_shape = tuple(entry["scale_shape"])
    scales = int(np.prod(scale_shape, dtype=np.int64))
    scale = _array(payload, entry.get("scale_type", "<f4"), scales, entry["scale_at"]).reshape(scale_shape)
    offset, step = entry.get("grid", (None, None))
    book = None
    if "book_at" in entry:
        book = _array(payload, entry["book_type"], entry["book_length"], entry["book_at"])
    kind = _type(entry.get("value_type", "<f4"))
    return PackedTensor(path, shape, bits, offset, step, codes, scale, book, kind, places)


def _places(entry: dict[str, int] | None, payload: bytes) -> Places | None:
    if entry is None:
        return None
    bits, levels, values, at = (entry[name] for name in ("bits", "levels", "values", "at"))
    return Places(bits, levels, values, np.frombuffer(payload, np.uint8, -(-levels * bits // 8), at).copy())


def _array(payload: bytes, name: str, length: int, at: int) -> np.ndarray:
    """Reads numbers from the payload into this machine's byte order."""
    stored = _type(name)
    if stored.kind in _NAMED_BY_NUMPY:
        return np.frombuffer(payload, np.dtype(name), length, at).astype(stored)
    words = f"u{stored.itemsize}"
    return np.frombuffer(payload, f"<{words}", length, at).astype(words).view(stored)


def _type(name: str) -> np.dtype:
    """Returns the type named "<f4", or "bfloat16" and others that NumPy does not name by a kind and a width."""
    return np.dtype(name).newbyteorder("=") if name[0] in "<>|" else np.dtype(getattr(jnp, name))


def _type_name(dtype: np.dtype) -> str:
    return dtype.newbyteorder("<").str if dtype.kind in _NAMED_BY_NUMPY else dtype.name
