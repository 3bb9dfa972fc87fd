"""An integer network as one file. All numbers are little-endian.

  0   8 bytes   magic "GECKOINT"
  8   uint32    version: 1
  12  uint32    length of the header in bytes
  16  32 bytes  SHA-256 of the 16 bytes before it and of all that follows
  48  header    JSON, UTF-8: {"tensors": [{field: value}], "nodes": [{"kind": name of the class, field: value}],
                "input": number, "output": number, "arrays": [{"type": "<i4", "shape": [...], "at": offset}]}
  ..  payload   the arrays in C order, one after another

A field that is an array is {"array": its number}; a stage is {"stage": "Rescale" or "Thresholds", field: value}.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import struct
from typing import Any

import jax
import numpy as np

from gecko_jax.digests import sha256
from gecko_jax.files import write_atomic
from gecko_jax.integer import nodes
from gecko_jax.integer.graph import IntegerGraph, check_graph
from gecko_jax.integer.nodes import IntegerTensor, Node, Rescale, Thresholds
from gecko_jax.json_values import dumps

MAGIC, VERSION = b"GECKOINT", 1
_PREAMBLE, DIGEST_BYTES = struct.Struct("<8sII"), 32
_KINDS = ("Dense", "Conv", "Depthwise", "Add", "MaxPool", "AveragePool", "Requantize", "Threshold", "Reshape")
_NODES: dict[str, type[Node]] = {name: getattr(nodes, name) for name in _KINDS}
_STAGES: dict[str, Any] = {"Rescale": Rescale, "Thresholds": Thresholds}
_TYPES = ("|i1", "<i4", "<f8")


def encode_graph(graph: IntegerGraph) -> bytes:
    """Returns an integer network as the bytes of a file; equal networks give equal bytes.

    Args:
      graph: of `freeze`.

    >>> encode_graph(IntegerGraph((IntegerTensor("input", (2,), 1.0),), (), 0, 0))[:8]
    b'GECKOINT'
    """
    check_graph(graph)
    arrays: list[dict[str, Any]] = []
    payload = bytearray()

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            stored = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            arrays.append({"type": stored.dtype.str, "shape": value.shape, "at": len(payload)})
            payload.extend(stored.tobytes())
            return {"array": len(arrays) - 1}
        if isinstance(value, Rescale | Thresholds):
            return {"stage": type(value).__name__} | {name: plain(each) for name, each in value._asdict().items()}
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        return value.item() if isinstance(value, np.generic) else value

    def fields(each: Any) -> dict[str, Any]:
        return {field.name: plain(getattr(each, field.name)) for field in dataclasses.fields(each)}

    content = {
        "tensors": [fields(tensor) for tensor in graph.tensors],
        "nodes": [{"kind": type(node).__name__, **fields(node)} for node in graph.nodes],
        "input": int(graph.input),
        "output": int(graph.output),
        "arrays": arrays,
    }
    header = dumps(content, separators=(",", ":")).encode()
    preamble, body = _PREAMBLE.pack(MAGIC, VERSION, len(header)), header + bytes(payload)
    return preamble + _digest(preamble, body) + body


def decode_graph(content: bytes, name: str = "content") -> IntegerGraph:
    """Reads the bytes of an integer network; nothing in them is executed.

    Args:
      content: of `encode_graph`.
      name: of the file, for messages.

    Raises:
      ValueError: as `load_graph` does.

    >>> decode_graph(encode_graph(IntegerGraph((IntegerTensor("input", (2,), 0.1),), (), 0, 0))).tensors[0].scale
    0.1
    """
    if len(content) < _PREAMBLE.size or content[:8] != MAGIC:
        raise ValueError(f"{name} is not an integer network: it does not begin with {MAGIC.decode()!r}.")
    _, version, length = _PREAMBLE.unpack_from(content)
    if version != VERSION:
        raise ValueError(
            f"{name} has version {version}; this library reads version {VERSION}. Freeze the model again, or read the "
            "file with a newer library."
        )
    preamble, body = content[: _PREAMBLE.size], content[_PREAMBLE.size + DIGEST_BYTES :]
    if _digest(preamble, body) != content[_PREAMBLE.size : _PREAMBLE.size + DIGEST_BYTES]:
        raise ValueError(f"{name} is damaged or truncated: it does not match its SHA-256. Write it again.")
    try:
        return _checked(_graph(json.loads(body[:length]), body[length:]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{name} describes no integer network ({error}). Write it again.") from error


def save_graph(path: str | os.PathLike[str], graph: IntegerGraph) -> pathlib.Path:
    """Writes an integer network to a file; another process reads either the old file or the complete new one.

    Args:
      path: the file; its folder is created if absent.
      graph: of `freeze`.

    Returns:
      The path.

    Raises:
      OSError: see `files.write_atomic`.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "network.graph"
    >>> graph = IntegerGraph((IntegerTensor("input", (2,), 1.0),), (), 0, 0)
    >>> load_graph(save_graph(path, graph)).tensors == graph.tensors
    True
    """
    return write_atomic(path, encode_graph(graph))


def load_graph(path: str | os.PathLike[str]) -> IntegerGraph:
    """Reads an integer network that `save_graph` wrote.

    Args:
      path: the file.

    Returns:
      A network that computes the same codes.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file of another kind or version, one that is truncated or damaged, or tensors and nodes that do not
        fit together.

    >>> load_graph("absent.graph")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'absent.graph'
    """
    return decode_graph(pathlib.Path(path).read_bytes(), str(path))


def _digest(*parts: bytes) -> bytes:
    return bytes.fromhex(sha256(*parts))


def _graph(content: dict[str, Any], payload: bytes) -> IntegerGraph:
    arrays = [_array(payload, **entry) for entry in content["arrays"]]

    def value(each: Any) -> Any:
        if isinstance(each, list):
            return tuple(map(value, each))
        if isinstance(each, dict) and "array" in each:
            return arrays[each["array"]]
        if isinstance(each, dict):
            return _STAGES[each["stage"]](**{name: value(part) for name, part in each.items() if name != "stage"})
        return each

    def built(kind: Any, entry: dict[str, Any]) -> Any:
        return kind(**{name: value(each) for name, each in entry.items() if name != "kind"})

    tensors = tuple(built(IntegerTensor, entry) for entry in content["tensors"])
    steps = tuple(built(_NODES[entry["kind"]], entry) for entry in content["nodes"])
    return IntegerGraph(tensors, steps, content["input"], content["output"])


def _array(payload: bytes, type: str, shape: list[int], at: int) -> np.ndarray:
    if type not in _TYPES or at < 0 or min(shape, default=0) < 0:
        raise ValueError(f"an array of type {type} and shape {shape} at byte {at}")
    values = np.frombuffer(payload, type, math.prod(shape), at).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))  # a copy, which may be written to


def _checked(graph: IntegerGraph) -> IntegerGraph:
    """Returns the network if each tensor is written once, before it is read, and the shapes fit together."""
    for tensor in graph.tensors:
        integers = (*tensor.shape, tensor.zero_point, tensor.low, tensor.high, tensor.bits)
        codes_fit = all(type(each) is int for each in integers) and -128 <= tensor.low <= tensor.high <= 127
        codes_fit = codes_fit and min(tensor.shape, default=1) > 0 and 1 <= tensor.bits <= 8
        if not codes_fit or not 0 < tensor.scale < math.inf:
            raise ValueError(f"no codes of int8 are described by {tensor}")
    written = {graph.input}
    for node in graph.nodes:
        if not written.issuperset(node.inputs) or node.output in written:
            raise ValueError(f"node {node.path!r} reads {node.inputs} and writes {node.output} after {sorted(written)}")
        written.add(node.output)
    if written != set(range(len(graph.tensors))) or graph.output not in written:
        raise ValueError(f"{len(graph.tensors)} tensors, of which {sorted(written)} are written")
    codes = jax.ShapeDtypeStruct((1, *graph.tensors[graph.input].shape), np.int8)
    result, expected = jax.eval_shape(graph.run, codes), graph.tensors[graph.output].shape
    if result.shape[1:] != expected:
        raise ValueError(f"the last node computes {result.shape[1:]}, not {expected}")
    return graph
