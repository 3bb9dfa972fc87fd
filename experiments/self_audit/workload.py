"""The training that each row of the study takes: settings in, `work.Work` out.

A scenario's training is that of a plain game with its steps and canaries. Most of the study is accounting and bounds,
which come on top.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.self_audit import game
from experiments.self_audit.config import Config
from experiments.self_audit.scenarios import BASE, PART
from experiments.work import Work
from gecko_jax import clippings, datasets, losses, models
from gecko_jax.trees import take
from gecko_jax.types import Examples


class Game(NamedTuple):
    """A scenario's training: its steps in all, canaries as a factor or a maximum, rate, tables and models."""

    steps: int = 4
    factor: float = 1.0
    maximum: int | None = None
    rate: float = 1.0
    tables: int = 1
    models: int = 1


SAMPLED = Game(steps=int(PART["steps"]), rate=PART["rate"])
# Those that are not listed are a plain game, of four full batches.
GAMES = {
    "one full batch": Game(steps=1, factor=5),
    "full batches": Game(factor=5),
    "Poisson batches": SAMPLED,
    "truncated batches": SAMPLED,
    "DP-Adam": SAMPLED,
    "per-layer clipping": Game(tables=2),
    "each gradient made (vmap)": Game(maximum=500),
    "multiplicity 4": Game(steps=16),
    "two models of an ensemble": Game(steps=2, maximum=4000, models=2),
    "stopped and resumed": Game(steps=6),
    "many runs": Game(steps=2, maximum=BASE, models=400),
}
DIGITS_ROWS, DIGITS_BATCH, DIGITS_EPOCHS = 1437, 256, 20  # of "input canaries"


def workload(config: Config) -> list[Work]:
    """Returns the training of every scenario at all its budgets."""
    fits = len(config.epsilons)
    return [
        _digits(fits) if name == "input canaries" else _game(name, GAMES.get(name, Game()), config, fits)
        for name in config.scenarios
    ]


def _game(name: str, played: Game, config: Config, fits: int) -> Work:
    canaries = round(played.factor * config.canaries)
    canaries = canaries if played.maximum is None else min(canaries, played.maximum)
    like = Examples(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1))
    batch_size = max(1, round(played.rate * canaries / 2))  # a coin for each canary
    return Work(
        name, game.table_model(canaries, played.tables), like, played.models, played.steps, batch_size, game.LOSS,
        clippings.flat(1.0), fits=fits, kind=(canaries, played.tables),
    )  # fmt: skip


def _digits(fits: int) -> Work:
    data, steps = datasets.load("digits"), DIGITS_EPOCHS * round(DIGITS_ROWS / DIGITS_BATCH)
    model, like = models.create("mlp", data.num_classes or 1, hidden=(32,)), take(data.train, slice(0, 1))
    rule, loss = clippings.flat(1.0), losses.cross_entropy()
    return Work("input canaries", model, like, 1, steps, DIGITS_BATCH, loss, rule, fits=fits)
