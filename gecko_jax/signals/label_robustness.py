"""Label robustness: the share of moved copies of a record that are still given its true label."""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

label_robustness = Signal("label_robustness", larger="members", needs=("queries",), outputs="labels", bounds=(0.0, 1.0))
