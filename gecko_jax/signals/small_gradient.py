"""Small gradient: minus the L2 norm of the gradient of the record's loss."""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

small_gradient = Signal("small_gradient", larger="members", needs=("gradients",))
