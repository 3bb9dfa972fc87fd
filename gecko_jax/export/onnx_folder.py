"""Writes the folder of a frozen network in ONNX."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from gecko_jax import __version__, extras
from gecko_jax.export.folders import codes_table, vector_files, write_folder
from gecko_jax.export.onnx_nodes import lower
from gecko_jax.integer.graph import IntegerGraph, check_graph

OPSET = 17
IR_VERSION = 9


def to_onnx(graph: IntegerGraph, folder: str | os.PathLike[str], qdq: bool = False) -> pathlib.Path:
    """Writes a network as ONNX, int8 codes in and int8 codes out.

    The folder gets model.onnx, inputs.npy and outputs.npy (codes, and what `graph.run` makes of them), check.py, which
    compares ONNX Runtime with them and prints the share of outputs that differ, README.md, network.graph (the network,
    as `read_exported` reads it), and SHA256SUMS, which is written last: a folder without it is incomplete.

    All operators are of standard ONNX. On integers, a runtime computes the codes of `graph.run`, bit for bit. The form
    QDQ (operators on numbers, between QuantizeLinear and DequantizeLinear) is what compilers for accelerators read; a
    runtime rescales its sums by another rounding, so that a layer's codes may be 1 off, and those of layers behind it
    more. Layers of fewer than 8 bits are on integers in both.

    Args:
      graph: of `integer.freeze`.
      folder: where the files go; created if absent.
      qdq: write the form QDQ.

    Returns:
      The folder.

    Raises:
      ImportError: without the package onnx.
      ValueError: with qdq, a layer whose factors are not those of its tensors' scales.
      OSError: a folder that cannot be written.

    >>> import tempfile
    >>> from gecko_jax.integer.nodes import IntegerTensor, MaxPool
    >>> tensors = [IntegerTensor("input", (4, 4, 1), 0.1), IntegerTensor("pool", (2, 2, 1), 0.1)]
    >>> node = MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0)))
    >>> folder = to_onnx(IntegerGraph(tuple(tensors), (node,), 0, 1), tempfile.mkdtemp())
    >>> sorted(file.name for file in folder.iterdir())
    ['README.md', 'SHA256SUMS', 'check.py', 'inputs.npy', 'model.onnx', 'network.graph', 'outputs.npy']
    """
    check_graph(graph)
    readme = _README.format(table=codes_table(graph), form=_FORMS[qdq])
    return write_folder(
        folder,
        {
            "model.onnx": _encode(graph, qdq),
            "check.py": _CHECK.replace("ALLOWED", str(int(qdq))),
            **vector_files(graph),
            "README.md": readme,
        },
        graph,
    )


def _encode(graph: IntegerGraph, qdq: bool) -> bytes:
    extras.require("onnx", "a model in ONNX")
    from onnx import TensorProto, helper, numpy_helper

    network = lower(graph, qdq)

    def value(name: str, shape: Sequence[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.INT8, ["batch", *shape])

    written = helper.make_graph(
        [
            helper.make_node(step.kind, step.inputs, [step.output], step.output, **step.settings)
            for step in network.steps
        ],
        "network",
        [value(network.input, graph.tensors[graph.input].shape)],
        [value(network.output, graph.tensors[graph.output].shape)],
        [numpy_helper.from_array(array, name) for name, array in network.constants.items()],
    )
    model = helper.make_model(
        written,
        producer_name="gecko_jax",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return model.SerializeToString(deterministic=True)


_CHECK = '''"""Compares ONNX Runtime with the integer network: pip install numpy onnxruntime."""

import pathlib
import sys

import numpy as np
import onnxruntime

here = pathlib.Path(__file__).parent
x, expected = np.load(here / "inputs.npy"), np.load(here / "outputs.npy")
session = onnxruntime.InferenceSession(here / "model.onnx", providers=["CPUExecutionProvider"])
[codes] = session.run(None, {session.get_inputs()[0].name: x})
gap = np.abs(codes.astype(int) - expected)
print(f"{np.count_nonzero(gap)} of {gap.size} outputs differ ({np.mean(gap > 0):.2%}), by at most {gap.max()}")
sys.exit(int(gap.max() > 0 and not ALLOWED))
'''

_README = """# A network in ONNX

    pip install numpy onnxruntime
    python check.py              # compares ONNX Runtime with outputs.npy, and prints the share of codes that differ
    sha256sum -c SHA256SUMS

`model.onnx` reads and writes int8 codes; images are (height, width, channels). A code stands for the number
`scale * (code - zero point)`; a number becomes the code `round(number / scale) + zero point`, half away from zero.

{table}

`outputs.npy` is what the integer network computes from `inputs.npy`. {form}
`network.graph` is the network for `gecko_jax`; no runtime needs it.
"""

_FORMS = {
    False: "`model.onnx` computes the same codes, on integers alone.",
    True: "`model.onnx` is in the form QDQ: a runtime rescales\nits sums by another rounding, and codes may differ.",
}
