"""Defenses against membership inference, at training time and at answer time.

    defense = DEFENSES["early_stopping"]()
    fits = defense.train(model, data.train, member, reference=other_rows, epochs=30)
    logits = training.predict_ensemble(model, fits.variables, data.train.x)
    released = [defense.answer(one, data.train.id) for one in logits] if defense.answer else logits

Every defense trains m models at once, targets and shadows by the same recipe, so that an attack can know it. Most are a
gradient function or a loss of `training.fit_ensemble`; those at answer time change what is released and not the model.
A defense that only masks scores leaves an attack on the predicted labels as it was.

To add one: a file with a factory that returns a `Defense`, and one line in `DEFENSES`; the contract test runs over it.
"""

from __future__ import annotations

from collections.abc import Callable

from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.dropout import dropout
from gecko_jax.defenses.early_stopping import early_stopping
from gecko_jax.defenses.l2 import l2
from gecko_jax.defenses.label_smoothing import label_smoothing
from gecko_jax.defenses.temperature import temperature
from gecko_jax.defenses.undefended import undefended

# Name -> factory with the usual settings.
DEFENSES: dict[str, Callable[..., Defense]] = {
    "undefended": undefended,
    "dropout": dropout,
    "early_stopping": early_stopping,
    "l2": l2,
    "label_smoothing": label_smoothing,
    "temperature": temperature,
}

__all__ = [
    "DEFENSES",
    "Defense",
    "dropout",
    "early_stopping",
    "l2",
    "label_smoothing",
    "temperature",
    "undefended",
]
