"""The idx format of MNIST: 2 zero bytes, a type, the number of axes, big-endian lengths, then the data."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

_UBYTE = 0x08
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def contents(path: str | os.PathLike) -> bytes:
    """Returns a file's bytes, unpacked if its name ends in .gz; raises ValueError if the archive is damaged."""
    data = Path(path).read_bytes()
    if not str(path).endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path}: corrupt gzip file ({error}); delete it and get it again.") from error


def read(path: str | os.PathLike, axes: int) -> np.ndarray:
    """Reads an idx file of unsigned bytes.

    Args:
      path: the file, .gz or not.
      axes: how many axes it must have: 1 for labels, 3 for images.

    Returns:
      uint8 array of the shape in the header.

    Raises:
      ValueError: a wrong magic number, type or number of axes, or a length that differs from the header's; the message
        names the file.
    """
    data = contents(path)
    if len(data) < 4:
        raise ValueError(f"{path}: truncated; {len(data)} bytes, an idx header has at least 4.")
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    if zero != 0 or kind not in _TYPES:
        raise ValueError(f"{path}: magic is 0x{data[:4].hex()}; not an idx file, which begins 0x0000 and a known type.")
    if kind != _UBYTE:
        raise ValueError(f"{path}: holds {_TYPES[kind]} (magic 0x{data[:4].hex()}); expected uint8 (0x000008..).")
    if rank != axes:
        raise ValueError(f"{path}: has {rank} axes (magic 0x{data[:4].hex()}); expected {axes}. Are two files swapped?")
    start = 4 + 4 * rank
    if len(data) < start:
        raise ValueError(f"{path}: truncated; {len(data)} bytes, a header of {rank} axes has {start}.")
    shape = struct.unpack(f">{rank}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        state = "truncated" if len(data) < expected else "too long"
        raise ValueError(f"{path}: {state}; {len(data)} bytes, the header's shape {shape} makes {expected}.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
