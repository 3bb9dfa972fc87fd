"""A frozen network as what devices run: each exporter writes a folder with the artifact and its checksums.

to_c(graph, folder)         C99 with static arrays and one arena, no runtime
c_bytes(graph)              its bytes of flash and memory, counted
build_elf({name: folder})   C compiled for the Cortex-M4, and the bytes of its sections
Emulated(elf, name)         runs it on an emulated Cortex-M4, and counts instructions
to_onnx(graph, folder)      ONNX on integers, bit for bit, or in the form QDQ
to_tflite(graph, folder)    a full-int8 .tflite file for LiteRT and TensorFlow Lite Micro, bit for bit
read_exported(folder)       the network of a folder, once it is sure that the artifact computes it
"""

from gecko_jax.export.c99 import CBytes, c_bytes, to_c
from gecko_jax.export.elf import Elf, read_elf
from gecko_jax.export.emulated import Emulated, build_elf
from gecko_jax.export.litert import to_tflite
from gecko_jax.export.onnx_folder import to_onnx
from gecko_jax.export.reading import Exported, read_exported

__all__ = [
    "CBytes",
    "Elf",
    "Emulated",
    "Exported",
    "build_elf",
    "c_bytes",
    "read_elf",
    "read_exported",
    "to_c",
    "to_onnx",
    "to_tflite",
]
