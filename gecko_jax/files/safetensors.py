"""Reads tensors from a .safetensors file: a length, a JSON header of names, types and offsets, and the raw values."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

MAX_HEADER_BYTES = 100_000_000  # of the format's own reader
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_TYPES |= {"I8": "<i1", "U8": "<u1", "BOOL": "|b1"}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    r"""Returns the tensors of a .safetensors file by name; bfloat16 becomes float32, which holds it exactly.

    Args:
      path: the file. Nothing in it is executed.

    Raises:
      ValueError: a file of another format, a damaged one, or a type that NumPy lacks.
      OSError: a file that cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> header = b'{"w":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}'
    >>> _ = path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x01\x02")
    >>> read_safetensors(path)["w"].tolist()
    [1, 2]
    """
    content = Path(path).read_bytes()
    size = int.from_bytes(content[:8], "little")
    try:
        if len(content) < 8 or size > min(MAX_HEADER_BYTES, len(content) - 8):
            raise ValueError("the header is longer than the file")
        header = json.loads(content[8 : 8 + size])
        body = memoryview(content)[8 + size :]
        return {name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not a readable .safetensors file: {error}. Fetch it again.") from error


def _tensor(name: str, entry: Any, body: memoryview) -> np.ndarray:
    if entry["dtype"] not in _TYPES:
        raise ValueError(f"{name} has type {entry['dtype']}; expected one of {', '.join(_TYPES)}")
    dtype, shape, (start, end) = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} of shape {shape} does not fit its {end - start} bytes, or they are missing")
    array = np.frombuffer(body[start:end], dtype).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else array
