"""Boundary distance: L2 distance from a record to the nearest input found that has another label."""

from __future__ import annotations

import math

from gecko_jax.signals.signal import Signal

boundary_distance = Signal(
    "boundary_distance", larger="members", needs=("queries",), outputs="labels", bounds=(0.0, math.inf)
)
