"""Digests of contents: of bytes, of arrays as they are stored, and of values however they are stored.

  sha256         bytes and text: files, and what a seed is derived from
  array_digest   arrays with their shapes, types and bytes: two runs are the same run only if all of it is equal
  value_digest   values: equal records have equal digests
  row_digests    the same for each row of a data set

The last two ignore byte order, strides, width, the pointers in an array of objects, the sign of a zero and a NaN's
payload. Numbers are hashed in the narrowest of float32, float64 and 64-bit integers that represents all of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import numbers
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

ROW_BYTES = 16  # of a row's digest: two of 10^9 different rows share one with probability 10^-20
NAME_BYTES = 8  # of a digest that is printed or names a file


def sha256(*contents: bytes | str) -> str:
    """Returns the SHA-256 of all contents, one after another, as 64 hexadecimal digits; a str counts as UTF-8.

    Args:
      *contents: bytes or text.

    >>> sha256("ab", b"c") == sha256(b"abc")
    True
    """
    running = running_sha256()
    for content in contents:
        running.update(content.encode() if isinstance(content, str) else content)
    return running.hexdigest()


def running_sha256() -> Any:
    """Returns an empty SHA-256 with `update(block)` and `hexdigest()`; a file larger than memory is hashed by blocks.

    >>> (running := running_sha256()).update(b"abc")
    >>> running.hexdigest()[:16]
    'ba7816bf8f01cfea'
    """
    return hashlib.sha256()


def array_digest(*arrays: Any) -> str:
    """Returns 32 hexadecimal digits of the SHA-256 over arrays' shapes, types and bytes, in their order.

    Args:
      *arrays: of any shapes and numeric types; None counts as "no array here".

    >>> array_digest(np.zeros(2)) == array_digest(np.zeros((2, 1)))
    False
    """
    running = running_sha256()
    for array in arrays:
        if array is None:
            running.update(b"none")
            continue
        blocks = array.in_blocks() if hasattr(array, "in_blocks") else [array := np.ascontiguousarray(array)]
        running.update(f"{array.shape}{array.dtype}".encode())
        for block in blocks:  # of rows, if they are not in memory
            running.update(block.view(np.uint8).reshape(-1) if block.size else b"")
    return running.hexdigest()[:32]


def value_digest(*values: Any) -> str:
    """Returns 16 hexadecimal digits for some values, the same in every process.

    Args:
      *values: arrays of numbers, text or objects, sparse matrices, mappings of them, words, lists.

    Raises:
      ValueError: an object that cannot be encoded.

    >>> value_digest(np.array(["a", "b"], "U3")) == value_digest(np.array(["a", "b"], object))
    True
    >>> value_digest(np.float32([0, 1])) == value_digest(np.array([-0.0, 1.0], ">f8"))
    True
    """
    running = hashlib.blake2b(digest_size=NAME_BYTES)
    for value in values:
        if isinstance(value, Mapping) or _sparse(value):
            running.update(_encoded(value))
            continue
        array = _settled(np.atleast_1d(_native(value)))
        if array.dtype.kind in "OT":
            running.update(f"{array.shape}values".encode() + b"".join(map(_framed, array.reshape(-1).tolist())))
        else:
            running.update(f"{(array := _canonical(array)).shape}{array.dtype}".encode() + array.tobytes())
    return running.hexdigest()


def short(content: bytes, size: int = ROW_BYTES) -> bytes:
    """Returns the BLAKE2b digest of some bytes, for names and comparisons within one run.

    Args:
      content: the bytes.
      size: of the digest, in bytes.

    >>> short(b"abc", 64).hex()[:16]
    'ba80a53f981c4d0d'
    """
    return hashlib.blake2b(content, digest_size=size).digest()


def row_digests(*parts: Any) -> list[list[bytes]]:
    """Returns a digest of each row of each part: equal rows of any two parts have equal digests.

    Floats of two widths are compared in the narrower one, because one record may be loaded in float32 here and in
    float64 or bytes there. Text is compared as text, objects by their values, a sparse row with its dense form.

    Args:
      *parts: records [n, ...] each: arrays, sparse matrices, or mappings of them, of one kind of record.

    Returns:
      For each part a list [n] of digests.

    Raises:
      ValueError: an object that cannot be encoded; mappings with different keys.

    >>> a, b = row_digests(np.float32([[0, 1], [2, 3]]), np.array([[2.0, 3.0]]))
    >>> b[0] == a[1], b[0] == a[0]
    (True, False)
    """
    if any(isinstance(part, Mapping) for part in parts):
        keys = sorted(parts[0])
        if any(not isinstance(part, Mapping) or sorted(part) != keys for part in parts):
            raise ValueError(f"the records have the keys {keys}, and others have not; give all of them the same keys.")
        leaves = [row_digests(*(part[key] for part in parts)) for key in keys]
        return [[short(b"".join(row)) for row in zip(*(leaf[i] for leaf in leaves), strict=True)]
                for i in range(len(parts))]  # fmt: skip
    if any(_sparse(part) for part in parts):
        return [_sparse_rows(part) for part in parts]
    arrays = [_native(part) for part in parts]
    kinds = {array.dtype for array in arrays}
    if any(kind.kind in "OTUS" for kind in kinds):
        return [[short(_framed(row)) for row in array.tolist()] for array in arrays]
    floats = [kind for kind in kinds if kind.kind == "f"]
    if len(kinds) > 1 and all(kind.kind in "biuf" for kind in kinds):
        common = min(floats, key=lambda k: k.itemsize) if floats else np.result_type(*kinds)
        arrays = [array.astype(common) for array in arrays]
    elif len(kinds) > 1 and len({kind.kind for kind in kinds}) == 1 and next(iter(kinds)).kind in "mM":
        arrays = [array.astype(np.result_type(*kinds)) for array in arrays]
    return [[short(row.tobytes()) for row in _plain(array)] for array in arrays]


def _sparse(value: Any) -> bool:
    return hasattr(value, "tocsr")


def _native(value: Any) -> np.ndarray:
    """As an array in this machine's byte order, types that are foreign to NumPy (bfloat16) as float32."""
    array = np.asarray(value)
    if array.dtype.kind == "V" and array.dtype.fields is None and "float" in array.dtype.name:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _settled(array: np.ndarray) -> np.ndarray:
    """An array of objects that are all text, or all real numbers, in the type that says so."""
    if array.dtype.kind not in "OT" or not array.size:
        return array
    values = array.reshape(-1).tolist()
    if all(isinstance(value, str) for value in values):
        return array.astype(str)
    real = all(isinstance(value, (numbers.Real, np.bool_)) for value in values)
    settled = np.array(values).reshape(array.shape) if real else array
    return settled if settled.dtype.kind in "biuf" else array


def _plain(array: np.ndarray) -> np.ndarray:
    """Floats with one zero and one NaN; everything else as it is."""
    if array.dtype.kind not in "fc":
        return np.ascontiguousarray(array)
    array = array + array.dtype.type(0)  # -0 + 0 is 0
    array[np.isnan(array)] = np.nan
    return array


def _canonical(array: np.ndarray) -> np.ndarray:
    """Numbers in the narrowest type that holds them, text in the narrowest width."""
    if array.dtype.kind == "U":
        width = max(1, int(np.char.str_len(array).max(initial=1)))
        return np.ascontiguousarray(array.astype(f"U{width}"))
    if array.dtype.kind not in "biuf":
        return _plain(array)
    array = _plain(array)
    for kind in (np.float32, np.float64):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = array.astype(kind)
            if np.array_equal(narrow.astype(array.dtype), array, equal_nan=array.dtype.kind == "f"):
                return narrow
    return array if array.dtype.kind == "f" else array.astype(np.uint64 if array.min() >= 0 else np.int64)


def _sparse_rows(part: Any) -> list[bytes]:
    """Digests of a sparse matrix's rows, by their entries that are not 0."""
    from scipy import sparse

    part = sparse.csr_array(part, copy=True)
    part.sum_duplicates()
    part.eliminate_zeros()
    part.sort_indices()
    columns, values, ends = part.indices.astype(np.int64), _plain(part.data.astype(np.float64)), part.indptr
    rows = zip(ends[:-1], ends[1:], strict=True)
    return [short(columns[i:j].tobytes() + values[i:j].tobytes()) for i, j in rows]


def _framed(value: Any) -> bytes:
    """An encoded value behind its length, so that ("ab", "c") is not ("a", "bc")."""
    content = _encoded(value)
    return str(len(content)).encode() + b":" + content


def _encoded(value: Any) -> bytes:
    """Any value as bytes: equal values as equal ones."""
    if isinstance(value, (str, bytes)):
        return b"s" + value.encode() if isinstance(value, str) else b"b" + value
    if value is None or isinstance(value, (numbers.Number, np.bool_)):
        number: Any = value if value is None or isinstance(value, numbers.Complex) else float(value)  # type: ignore
        integral = isinstance(value, (numbers.Real, np.bool_)) and number == number // 1
        return b"n" + (str(int(number)) if integral else str(number)).encode()
    if isinstance(value, Mapping):
        pairs = sorted((_framed(key), _framed(item)) for key, item in value.items())
        return b"m" + b"".join(key + item for key, item in pairs)
    if _sparse(value):
        return b"r" + b"".join(_sparse_rows(value)) + str(value.shape).encode()
    if isinstance(value, (set, frozenset)):
        return b"u" + b"".join(sorted(map(_framed, value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return b"d" + type(value).__qualname__.encode() + _encoded(fields)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(_framed, value))
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return _encoded(_native(value).tolist())
    try:
        return b"p" + type(value).__qualname__.encode() + pickle.dumps(value, protocol=4)
    except Exception as error:
        raise ValueError(
            f"a {type(value).__name__} among the records has no value that can be compared ({error}): give numbers, "
            "text, arrays, or lists and dicts of them."
        ) from error
