"""Trains the rows of the study, in order, and keeps what each one said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS, Method
from gecko_jax import datasets, losses, models, training
from gecko_jax.types import Dataset, Model, Variables


class Trained(NamedTuple):
    """A row's models.

    Attributes:
      architecture, method: names.
      model: the network.
      variables: of m models, leading axis.
      history: mean training loss of each epoch, [epochs, m].
      pool, test: logits [m, n, classes] on all that members are drawn from, without augmentation, and on the test set.
      seconds: wall time, or of the rest of it where the run was resumed.
    """

    architecture: str
    method: str
    model: Model
    variables: Variables
    history: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    seconds: float


def membership(config: Config, data: Dataset) -> np.ndarray:
    """Who trains which model, bool [m, n]: independent coins, so that leave-one-out shadows are unbiased."""
    return datasets.coins(data.train.id, config.models, config.seed, config.member_rate)


def train_all(config: Config, data: Dataset, member: np.ndarray) -> list[Trained]:
    """Every architecture x method of the config."""
    results: list[Trained] = []
    for position, architecture in enumerate(config.architectures):
        done: dict[str, Trained] = {}
        for name in sorted(config.methods, key=list(METHODS).index):  # a row comes after those it needs
            done[name] = _train(config, position, architecture, name, data, member, done)
        results += [done[name] for name in config.methods]
    return results


def _train(config, position, architecture, name, data, member, done) -> Trained:
    method, folder = METHODS[name], Path(config.output) / "checkpoints" / architecture / name
    model = method.model(architecture, data.num_classes, **config.options(architecture))
    epochs = (config.fine_tuning_epochs if method.start else config.epochs)[position]
    options = _options(config, epochs)
    options |= dict(folder=folder, label=f"{architecture} {method.label}")
    if method.start:
        options["init"] = done[method.start].variables
    if method.transition:
        options["transition"] = (epochs // 5, max(epochs // 5 + 1, 3 * epochs // 5))
    if method.teacher:
        options["teacher"] = _teacher(config, position, method, data, member, done)
        options["loss"] = losses.LOSSES[config.distillation]()
    start = time.perf_counter()
    fitted = training.fit_ensemble(model, data.train, member, **options)
    pool, test = (training.predict_ensemble(model, fitted.variables, part.x) for part in (data.train, data.test))
    seconds = time.perf_counter() - start
    return Trained(architecture, name, model, fitted.variables, fitted.loss, pool, test, seconds)


def _options(config: Config, epochs: int) -> dict:
    return dict(
        epochs=epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        schedule=config.schedule,
        optimizer=training.optimizer("adam", config.learning_rate),
    )


def _teacher(config: Config, position: int, method: Method, data: Dataset, member, done) -> np.ndarray:
    """The teacher's logits [m, n, classes]: of a float network trained on the same members, or cross-fitted on them."""
    architecture = config.heterogeneous_teacher if method.teacher == "heterogeneous" else config.architectures[position]
    model = models.create(architecture, data.num_classes, **config.options(architecture))
    folder = Path(config.output) / "checkpoints" / config.architectures[position] / f"teacher_{method.teacher}"
    options = _options(config, config.epochs[position]) | dict(folder=folder, label=f"{architecture} teacher")
    if config.cross_fit:
        return training.cross_fitted_logits(model, data.train, member, config.cross_fit, **options)
    if method.teacher == "homogeneous":
        return done["full"].pool
    fitted = training.fit_ensemble(model, data.train, member, **options)
    return training.predict_ensemble(model, fitted.variables, data.train.x)
