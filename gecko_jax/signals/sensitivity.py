"""Sensitivity: how a model's posterior answers to a small change of the input. Features for an attack network.

Its parts are the posteriors, their sensitivities, and the one-hot label.
"""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

sensitivity = Signal("sensitivity", axes=("part", "class"), larger="neither", needs=("queries",))
