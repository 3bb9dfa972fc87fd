"""Hinge on record: the hinge, and behind it features of the record itself, on which a regression conditions it."""

from __future__ import annotations

from gecko_jax.signals.signal import Signal

hinge_on_record = Signal("hinge_on_record", axes=("feature",), larger="neither", needs=("records",))
