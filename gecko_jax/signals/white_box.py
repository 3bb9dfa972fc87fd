"""White box: all that a model tells of a record. Features for an attack network.

Its parts are the posteriors, the one-hot label, the loss, and the log gradient norms of the parameter leaves, each
filled up with zeros to one length.
"""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

white_box = Signal("white_box", axes=("part", "value"), larger="neither", needs=("gradients",))
