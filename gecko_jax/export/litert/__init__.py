"""The network as a .tflite file, written from the integer network without a converter.

lower -> with_memory -> encode      operators, the plan of the arena, the bytes
"""

from gecko_jax.export.litert.folder import to_tflite

__all__ = ["to_tflite"]
