"""Writes the folder of a network for LiteRT and for TensorFlow Lite Micro (TFLM)."""

from __future__ import annotations

import os
import pathlib

from gecko_jax import __version__
from gecko_jax.export.folders import codes_table, vector_files, write_folder
from gecko_jax.export.litert.cmsis_nn import cmsis_header
from gecko_jax.export.litert.encoding import encode
from gecko_jax.export.litert.lowering import lower
from gecko_jax.export.litert.memory import PlannedModel, with_memory
from gecko_jax.integer.graph import IntegerGraph, check_graph

BYTES_PER_LINE = 20


def to_tflite(graph: IntegerGraph, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a network as a full-int8 .tflite file that computes the same codes as `graph.run`, bit for bit.

    The folder gets model.tflite, the same bytes in C++ for a microcontroller (model_data.cc, model_data.h),
    operators.h, which registers the operators and says how large the arena is, cmsis_nn.h (multipliers, shifts and
    offsets of the layers, for calls of CMSIS-NN without TFLM), inputs.npy and outputs.npy (codes, and
    what `graph.run` makes of them), check.py, which compares LiteRT's reference kernels and TFLM with them, README.md,
    network.graph (the network, as `read_exported` reads it), and SHA256SUMS, which is written last: a folder without it
    is incomplete.

    The file holds a plan of the arena, as small as `integer.plan_arena` finds it, and TFLM obeys it. Neither TensorFlow
    nor a converter is needed: each node is one operator, and it is checked that the file's scales give the multipliers
    of the network. Weights of fewer bits are stored as int8.

    Args:
      graph: of `integer.freeze`, with activations of 8 bits.
      folder: where the files go; created if absent.

    Returns:
      The folder.

    Raises:
      ImportError: without the packages of the extra "export".
      ValueError: what LiteRT cannot compute bit for bit, with its layer: activations of fewer bits, thresholds, a
        constant factor beside a sum of two tensors, a mean of windows with a border that no "SAME" makes.
      OSError: a folder that cannot be written.

    Source: the schema of TensorFlow Lite; the plan, tflite-micro, docs/memory_management.md.

    >>> import tempfile
    >>> from gecko_jax.integer.nodes import IntegerTensor, MaxPool
    >>> tensors = IntegerTensor("input", (4, 4, 1), 0.1), IntegerTensor("pool", (2, 2, 1), 0.1)
    >>> node = MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0)))
    >>> folder = to_tflite(IntegerGraph(tensors, (node,), 0, 1), tempfile.mkdtemp())
    >>> (folder / "model.tflite").read_bytes()[4:8]
    b'TFL3'
    """
    planned = with_memory(lower(check_graph(graph)))
    data = encode(planned.model, f"gecko_jax {__version__}")
    contents = {
        "model.tflite": data,
        "model_data.h": _HEADER,
        "model_data.cc": _source(data),
        "operators.h": _operators(planned),
        "cmsis_nn.h": cmsis_header(graph),
        "check.py": _CHECK,
        **vector_files(graph),
        "README.md": _README.format(table=codes_table(graph), file=len(data), arena=planned.arena.bytes),
    }
    return write_folder(folder, contents, graph)


def _source(data: bytes) -> str:
    rows = (data[at : at + BYTES_PER_LINE] for at in range(0, len(data), BYTES_PER_LINE))
    lines = "\n".join("    " + "".join(f"{byte}," for byte in row) for row in rows)
    return (
        f'#include "model_data.h"\n\nalignas(16) const unsigned char model_data[] = {{\n{lines}\n}};\n'
        f"const unsigned int model_data_size = {len(data)};\n"
    )


def _operators(planned: PlannedModel) -> str:
    codes = sorted({operator.code for operator in planned.model.operators})
    calls = "\n".join(f"  resolver.Add{METHODS[code]}();" for code in codes)
    return (
        '#pragma once\n\n#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        "/* Bytes of the activations; TFLM adds its own records behind them. */\n"
        f"constexpr int kActivationBytes = {planned.arena.bytes};\n\n"
        f"using ModelOperators = tflite::MicroMutableOpResolver<{len(codes)}>;\n\n"
        f"inline void AddOperators(ModelOperators& resolver) {{\n{calls}\n}}\n"
    )


METHODS = {  # of MicroMutableOpResolver, Add...
    "ADD": "Add",
    "AVERAGE_POOL_2D": "AveragePool2D",
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "MAXIMUM": "Maximum",
    "MAX_POOL_2D": "MaxPool2D",
    "MINIMUM": "Minimum",
    "PADV2": "PadV2",
    "QUANTIZE": "Quantize",
    "RESHAPE": "Reshape",
}

_HEADER = "#pragma once\n\nextern const unsigned char model_data[];\nextern const unsigned int model_data_size;\n"

_CHECK = '''"""Compares LiteRT's reference kernels and TFLM with the integer network.

pip install numpy ai-edge-litert tflite-micro; one of the two is enough.
"""

import pathlib
import sys

import numpy as np

here = pathlib.Path(__file__).parent
x, expected = np.load(here / "inputs.npy"), np.load(here / "outputs.npy")
results = {}
try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = OpResolverType.BUILTIN_REF
    litert = Interpreter(model_path=str(here / "model.tflite"), experimental_op_resolver_type=reference)
    start, end = litert.get_input_details()[0]["index"], litert.get_output_details()[0]["index"]
    litert.resize_tensor_input(start, x.shape)
    litert.allocate_tensors()
    litert.set_tensor(start, x)
    litert.invoke()
    results["LiteRT"] = litert.get_tensor(end)
except ImportError:
    print("LiteRT is not installed")
try:
    from tflite_micro.python.tflite_micro import runtime

    micro = runtime.Interpreter.from_bytes((here / "model.tflite").read_bytes(), arena_size=2**24)
    rows = []
    for row in x:
        micro.set_input(row[None], 0)
        micro.invoke()
        rows.append(micro.get_output(0))
    results["TFLM"] = np.concatenate(rows)
except ImportError:
    print("TFLM is not installed")
for name, codes in results.items():
    print(f"{name}: {np.count_nonzero(codes != expected)} of {expected.size} outputs differ")
sys.exit(int(not results or any(np.any(codes != expected) for codes in results.values())))
'''

_README = """# A network for LiteRT and TensorFlow Lite Micro

    pip install numpy ai-edge-litert tflite-micro
    python check.py              # compares both with outputs.npy, bit for bit
    sha256sum -c SHA256SUMS

`model.tflite` ({file:,} bytes) reads and writes int8 codes; images are (height, width, channels). A code stands for the
number `scale * (code - zero point)`; a number becomes the code `round(number / scale) + zero point`, half away from
zero.

{table}

On a microcontroller, compile `model_data.cc`, and include `operators.h`:

    ModelOperators resolver;
    AddOperators(resolver);
    tflite::MicroInterpreter interpreter(tflite::GetModel(model_data), resolver, arena, arena_size);

The activations take {arena:,} bytes of the arena, as the plan in the file places them; TFLM's own records come on top,
and `interpreter.arena_used_bytes()` has the sum. `cmsis_nn.h` has the multipliers, shifts and offsets of the layers,
for programs that call CMSIS-NN themselves. `network.graph` is the network for `gecko_jax`; no device needs it. Dense
layers are convolutions of one pixel, since LiteRT and TFLM round FULLY_CONNECTED differently. LiteRT's optimized
kernels (XNNPACK) round differently too: ask for the reference kernels where the codes must be equal.
"""
