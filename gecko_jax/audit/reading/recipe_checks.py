"""Warnings about what was read: models in training mode, and shadow models that look untrained."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax import metrics
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.validity.containers import take
from gecko_jax.audit.validity.evaluation_mode import unsteady, unsteady_numbers


class Shadows(NamedTuple):
    """What was read off s shadow models on u records: first the p of the pool that members came from, then others.

    Attributes:
      readings: of the s models on the u records.
      member: [s, u] bool; False beyond the pool.
      y: [u] labels.
      pool: p. Thresholds are chosen on these.
      rows: int [n], the place of each of the target's records among the u.
      unseen: int [z], the place of each of the population's.
    """

    readings: Readings
    member: np.ndarray
    y: np.ndarray
    pool: int
    rows: np.ndarray
    unseen: np.ndarray | slice = slice(0, 0)


def evaluation_doubt(reader: ModelReader, model: Any, x: Any, readings: Readings) -> str:
    """Returns a sentence if a model seems to be in training mode, else ""; the last token of a sequence is compared.

    Of several versions, the first that seems to be.
    """
    if reader.versions:
        for name, outputs in zip(reader.versions, (readings.outputs, *readings.queries), strict=True):
            doubt = evaluation_doubt(*reader.version(name, model), x, Readings(outputs, kind=readings.kind))
            if doubt:
                return f"Version {name!r}: {doubt}"
        return ""

    def ask(rows: np.ndarray) -> np.ndarray:
        result = reader.encoded(model, take(x, rows), True)
        return result[:, -1] if reader.kind == "tokens" else result

    outputs = readings.model_outputs()
    if reader.kind == "numbers":
        return unsteady_numbers(ask, outputs)
    return unsteady(ask, outputs[:, -1] if reader.kind == "tokens" else outputs)


def check_recipe(shadows: Shadows) -> list[str]:
    """Returns warnings if the shadow models look untrained: none shows a trace of its own members.

    Raises:
      ValueError: shadows that are all the same.
    """
    outputs, member, p = shadows.readings.model_outputs(), shadows.member, shadows.pool
    if len(outputs) > 1 and all((one == outputs[0]).all() for one in outputs[1:]):
        raise ValueError(
            f"all {len(outputs)} shadows give the same outputs: the recipe ignores its rows and its key. It must train "
            "on pool rows `rows` alone, with draws from `key`."
        )
    loss = shadows.readings.loss_signal
    assert loss is not None  # outputs of every kind have one
    losses = shadows.readings.signal(loss, shadows.y)[0][:, :p]
    # Of many shadows of a recipe that ignores its rows some do well by luck: together they have one chance in twenty.
    level = 1 - 0.05 / len(losses)
    aucs = [metrics.auc_interval(-values, row, level) for values, row in zip(losses, member[:, :p], strict=True)]
    if any(auc.low is not None and auc.low > 0.5 for auc in aucs):
        return []
    mean = np.mean([auc.value for auc in aucs])
    return [
        f"No shadow's loss tells its own members from the others (mean AUC {mean:.3f}): either nothing leaks, or the "
        "recipe ignores its rows."
    ]
