"""Layer gradients: minus the logarithm of the gradient's L2 norm, of each parameter leaf apart."""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

layer_gradients = Signal("layer_gradients", axes=("leaf",), larger="members", needs=("gradients",))
