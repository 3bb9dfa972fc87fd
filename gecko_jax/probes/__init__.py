"""Probes: what an attacker reads off a model beyond its outputs on the records, one number a record or several.

`PROBES` return scores [n], larger for members. Run the same probe with the same settings and key on the target and on
every shadow, and `Signals(values, member, target)` is ready for any attack. `FEATURES` return several numbers a record
without a direction, for an attack network. `AUGMENTATIONS` return augmented inputs, on each of which any signal can be
read. `READERS` tie probes to the Signals that they read (see `gecko_jax.probes.readers`): this is what an audit asks.

Random draws are made once for all records: permuted records give permuted results, and a record's result does not
depend on the others. The same key gives the same draws for every model.

Of language models, `token_losses` reads the loss of each token, and `language_signals` what attacks read of each text;
`lowercased`, `zlib_bytes` and `neighbors` make what it compares a text with. `audit.from_signals` takes the result.

Of multi-exit models, `exit_times` measures how long each answer takes, and `exits_from_times` and
`exits_from_posteriors` guess from it, or from the answer, which exit gave it.

To add one: one file, and one line in its table; the contract test runs over the tables.
"""

from __future__ import annotations

from collections.abc import Callable

from gecko_jax.probes.augmentations import flips_and_shifts, noise, rotations, translations
from gecko_jax.probes.discoverable import discoverable
from gecko_jax.probes.exit_inference import exits_from_posteriors, exits_from_times
from gecko_jax.probes.exit_times import exit_times
from gecko_jax.probes.extraction import greedy_extraction
from gecko_jax.probes.gradients import gradient_norms, last_layer_gradients, small_gradient
from gecko_jax.probes.hopskipjump import boundary_distance
from gecko_jax.probes.label_only import noise_robustness, rotation_robustness, translation_robustness
from gecko_jax.probes.language_signals import language_signals
from gecko_jax.probes.neighbors import neighbors
from gecko_jax.probes.on_host import by_number, numbered, on_host
from gecko_jax.probes.readers import READERS, ProbedModel, SignalReader
from gecko_jax.probes.representations import representations
from gecko_jax.probes.sampled_extraction import prompts_of, sampled_draws
from gecko_jax.probes.sensitivity import sensitivity
from gecko_jax.probes.text_forms import lowercased, zlib_bytes
from gecko_jax.probes.token_losses import token_losses
from gecko_jax.probes.transfer import adversarial_examples, transfer_rate

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
    "adversarial_examples",
    "boundary_distance",
    "by_number",
    "discoverable",
    "exit_times",
    "exits_from_posteriors",
    "exits_from_times",
    "flips_and_shifts",
    "gradient_norms",
    "greedy_extraction",
    "language_signals",
    "last_layer_gradients",
    "lowercased",
    "neighbors",
    "noise",
    "noise_robustness",
    "numbered",
    "on_host",
    "prompts_of",
    "representations",
    "rotation_robustness",
    "rotations",
    "sampled_draws",
    "sensitivity",
    "small_gradient",
    "token_losses",
    "transfer_rate",
    "translation_robustness",
    "translations",
    "zlib_bytes",
]
