"""What all exporters write: a folder with the artifact, the integer network, a test vector, and checksums, last."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from gecko_jax.files import write_together
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.graph_file import encode_graph

CHECKSUMS, GRAPH = "SHA256SUMS", "network.graph"
VECTORS = 16


def write_folder(
    folder: str | os.PathLike[str], contents: Mapping[str, bytes | str], graph: IntegerGraph
) -> pathlib.Path:
    """Writes the files of an artifact, the network, and SHA256SUMS, as `sha256sum -c` reads it.

    SHA256SUMS is written last: a folder without it is incomplete.

    Args:
      folder: where the files go; created if absent.
      contents: file name -> its content.
      graph: the network that the artifact computes; it becomes network.graph, which `read_exported` reads.

    Returns:
      The folder.

    Raises:
      OSError: a folder that cannot be written.
    """
    write_together(folder, {**contents, GRAPH: encode_graph(graph)}, CHECKSUMS, _sums)
    return pathlib.Path(folder)


def _sums(digests: dict[str, str]) -> str:
    return "".join(f"{digest}  {file}\n" for file, digest in digests.items())


def random_codes(graph: IntegerGraph, count: int, seed: int) -> np.ndarray:
    """Draws int8 codes [count, *shape] that the network's input may have.

    Args:
      graph: whose input it is.
      count: of examples.
      seed: of the draw.
    """
    tensor, rng = graph.tensors[graph.input], np.random.default_rng(seed)
    shape = (count, *tensor.shape)
    if tensor.bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), shape)
    return rng.integers(tensor.low, tensor.high, shape, np.int8, endpoint=True)


def vector_files(graph: IntegerGraph) -> dict[str, bytes]:
    """Returns inputs.npy and outputs.npy: int8 codes, and what `graph.run` makes of them.

    Args:
      graph: a frozen network.
    """
    x = random_codes(graph, VECTORS, 0)
    return {"inputs.npy": _npy(x), "outputs.npy": _npy(np.asarray(graph.run(x)))}


def _npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def codes_table(graph: IntegerGraph) -> str:
    """Returns a Markdown table of what the codes of the input and of the output stand for.

    Args:
      graph: a frozen network.
    """
    rows = ["| | shape | scale | zero point | codes |", "|---|---|---|---|---|"]
    for side, number in ("input", graph.input), ("output", graph.output):
        tensor = graph.tensors[number]
        shape = " x ".join(map(str, tensor.shape))
        codes = f"{tensor.low} to {tensor.high}" if tensor.bits > 1 else "-1 and +1"
        rows.append(f"| {side} | {shape} | {np.float32(tensor.scale)!s} | {tensor.zero_point} | {codes} |")
    return "\n".join(rows)
