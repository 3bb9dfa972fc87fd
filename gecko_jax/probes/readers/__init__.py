"""Readers: what reads the signals that need the model itself, one for each such Signal of `gecko_jax.signals`.

Every reader asks all models the same: its draws, units and starting points come from one seed and from the reference
inputs, never from the model or from which records happen to be read. To add one: declare the Signal with its `needs`,
write one file with a `SignalReader`, and add one line to `READERS`.
"""

from __future__ import annotations

from gecko_jax.probes.readers.boundary_distance import boundary_distance
from gecko_jax.probes.readers.gradients import layer_gradients, small_gradient, white_box
from gecko_jax.probes.readers.hinge_on_record import hinge_on_record
from gecko_jax.probes.readers.label_robustness import label_robustness
from gecko_jax.probes.readers.sensitivity import sensitivity
from gecko_jax.probes.readers.signal_reader import ProbedModel, SignalReader

READERS: dict[str, SignalReader] = {
    "boundary_distance": boundary_distance,
    "hinge_on_record": hinge_on_record,
    "label_robustness": label_robustness,
    "layer_gradients": layer_gradients,
    "sensitivity": sensitivity,
    "small_gradient": small_gradient,
    "white_box": white_box,
}

__all__ = ["READERS", "ProbedModel", "SignalReader"]
