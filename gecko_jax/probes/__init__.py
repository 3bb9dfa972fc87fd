"""Probes: what an attacker reads off a model beyond its outputs on the records, one number a record or several.

`PROBES` return scores [n], larger for members. Run the same probe with the same settings and key on the target and on
every shadow, and `Signals(values, member, target)` is ready for any attack. `FEATURES` return several numbers a record
without a direction, for an attack network. `AUGMENTATIONS` return augmented inputs, on each of which any signal can be
read. `READERS` tie probes to the Signals that they read (see `gecko_jax.probes.readers`): this is what an audit asks.

Random draws are made once for all records: permuted records give permuted results, and a record's result does not
depend on the others. The same key gives the same draws for every model.

To add one: one file, and one line in its table; the contract test runs over the tables.
"""

from __future__ import annotations

from collections.abc import Callable

from gecko_jax.probes.augmentations import flips_and_shifts, noise, rotations, translations
from gecko_jax.probes.gradients import gradient_norms, last_layer_gradients, small_gradient
from gecko_jax.probes.hopskipjump import boundary_distance
from gecko_jax.probes.label_only import noise_robustness, rotation_robustness, translation_robustness
from gecko_jax.probes.on_host import by_number, numbered, on_host
from gecko_jax.probes.readers import READERS, ProbedModel, SignalReader
from gecko_jax.probes.representations import representations
from gecko_jax.probes.sensitivity import sensitivity

PROBES: dict[str, Callable] = {
    "boundary_distance": boundary_distance,
    "noise_robustness": noise_robustness,
    "rotation_robustness": rotation_robustness,
    "small_gradient": small_gradient,
    "translation_robustness": translation_robustness,
}

FEATURES: dict[str, Callable] = {
    "gradient_norms": gradient_norms,
    "last_layer_gradients": last_layer_gradients,
    "sensitivity": sensitivity,
}

AUGMENTATIONS: dict[str, Callable] = {
    "flips_and_shifts": flips_and_shifts,
    "noise": noise,
    "rotations": rotations,
    "translations": translations,
}

__all__ = [
    "AUGMENTATIONS",
    "FEATURES",
    "PROBES",
    "READERS",
    "ProbedModel",
    "SignalReader",
    "boundary_distance",
    "by_number",
    "flips_and_shifts",
    "gradient_norms",
    "last_layer_gradients",
    "noise",
    "noise_robustness",
    "numbered",
    "on_host",
    "representations",
    "rotation_robustness",
    "rotations",
    "sensitivity",
    "small_gradient",
    "translation_robustness",
    "translations",
]
