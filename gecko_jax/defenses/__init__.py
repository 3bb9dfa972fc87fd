"""Defenses against membership inference, at training time and at answer time.

    defense = DEFENSES["early_stopping"]()
    fits = defense.train(model, data.train, member, reference=other_rows, epochs=30)
    answers = released(defense, model, fits.variables, data.train, member, reference=other_rows)     [m, n, classes]
    result = audit_defense(defense, model, data.train, member, reference=other_rows, epochs=30)      all of it, audited

Every defense trains m models at once, targets and shadows by the same recipe, so that an attack can know it. Most are a
gradient function or a loss of `training.fit_ensemble`; those at answer time change what is released and not the model.
A defense that only masks scores leaves an attack on the predicted labels as it was.

To add one: a file with a factory that returns a `Defense`, and one line in `DEFENSES`; the contract test runs over it.
"""

from __future__ import annotations

from collections.abc import Callable

from gecko_jax.defenses.adversarial_regularization import adversarial_regularization
from gecko_jax.defenses.audited import DefenseAudit, audit_defense, label_attacks, masking
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.dmp import dmp
from gecko_jax.defenses.dropout import dropout
from gecko_jax.defenses.early_stopping import early_stopping
from gecko_jax.defenses.kcd import kcd
from gecko_jax.defenses.l2 import l2
from gecko_jax.defenses.label_only_answer import label_only_answer
from gecko_jax.defenses.label_smoothing import label_smoothing
from gecko_jax.defenses.memguard import memguard
from gecko_jax.defenses.memguard_noise import Search
from gecko_jax.defenses.mixup_mmd import mixup_mmd
from gecko_jax.defenses.neuguard import neuguard
from gecko_jax.defenses.ppb import ppb
from gecko_jax.defenses.relaxloss import relaxloss
from gecko_jax.defenses.released import released
from gecko_jax.defenses.rounding import rounding
from gecko_jax.defenses.safe_compress import safe_compress
from gecko_jax.defenses.selena import selena
from gecko_jax.defenses.temperature import temperature
from gecko_jax.defenses.time_guard import time_guard
from gecko_jax.defenses.top_k import top_k
from gecko_jax.defenses.undefended import undefended

# Name -> factory with the usual settings.
DEFENSES: dict[str, Callable[..., Defense]] = {
    "undefended": undefended,
    "adversarial_regularization": adversarial_regularization,
    "dmp": dmp,
    "dropout": dropout,
    "early_stopping": early_stopping,
    "kcd": kcd,
    "l2": l2,
    "label_only_answer": label_only_answer,
    "label_smoothing": label_smoothing,
    "memguard": memguard,
    "mixup_mmd": mixup_mmd,
    "neuguard": neuguard,
    "ppb": ppb,
    "relaxloss": relaxloss,
    "rounding": rounding,
    "safe_compress": safe_compress,
    "selena": selena,
    "temperature": temperature,
    "top_k": top_k,
    "time_guard": time_guard,
}

__all__ = [
    "DEFENSES",
    "Defense",
    "DefenseAudit",
    "Search",
    "adversarial_regularization",
    "audit_defense",
    "dmp",
    "dropout",
    "early_stopping",
    "kcd",
    "l2",
    "label_attacks",
    "label_only_answer",
    "label_smoothing",
    "masking",
    "memguard",
    "mixup_mmd",
    "neuguard",
    "ppb",
    "relaxloss",
    "released",
    "rounding",
    "safe_compress",
    "selena",
    "temperature",
    "top_k",
    "time_guard",
    "undefended",
]
