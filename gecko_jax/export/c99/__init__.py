"""C99 of a frozen network: constant arrays, one static arena, a call for each node; no runtime, no malloc, no libm."""

from gecko_jax.export.c99.folder import to_c
from gecko_jax.export.c99.program import CBytes, c_bytes

__all__ = ["CBytes", "c_bytes", "to_c"]
