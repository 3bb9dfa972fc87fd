"""Trains the rows of the study in order, and returns the models and outputs of each."""

from __future__ import annotations

import concurrent.futures
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS, Method
from gecko_jax import clippings, datasets, losses, models, privacy, training
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.types import Dataset, Model, Variables


class Trained(NamedTuple):
    """A row's models.

    Attributes:
      architecture, method: names.
      model: the network.
      variables: of m models, leading axis.
      history: mean training loss of each epoch, [epochs, m].
      pool, test: logits [m, n, classes] on all that members are drawn from, without augmentation, and on the test set.
      seconds: wall time; of a resumed run, of its rest.
      epsilon: what one of these models cost; None without privacy.
    """

    architecture: str
    method: str
    model: Model
    variables: Variables
    history: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    seconds: float
    epsilon: privacy.Epsilon | None = None


def membership(config: Config, data: Dataset) -> np.ndarray:
    """Returns who trains which model, bool [m, n]: independent coins, with which leave-one-out shadows are unbiased."""
    return datasets.coins(data.train.id, config.models, config.seed, config.member_rate)


def train_all(config: Config, data: Dataset, member: np.ndarray) -> list[Trained]:
    """Trains every architecture x method of the config."""
    results: list[Trained] = []
    if any(METHODS[name].epsilon is not None for name in config.methods):
        _check_delta(config, data)
    # Accounting takes seconds and no accelerator: the private rows' is done while the rows before them are trained.
    with concurrent.futures.ThreadPoolExecutor(1) as accounting:
        private = {
            (position, name): accounting.submit(_private, config, position, name, data)
            for position in range(len(config.architectures))
            for name in config.methods
            if METHODS[name].epsilon is not None
        }
        for position, architecture in enumerate(config.architectures):
            done: dict[str, Trained] = {}
            for name in sorted(config.methods, key=list(METHODS).index):  # a row comes after those it needs
                run = private[position, name].result() if (position, name) in private else None
                done[name] = _train(config, position, architecture, name, data, member, done, run)
            results += [done[name] for name in config.methods]
    return results


def _network(config: Config, position: int, name: str, data: Dataset) -> Model:
    architecture = config.architectures[position]
    return METHODS[name].model(architecture, data.num_classes, **config.options(architecture))


def _train(config, position, architecture, name, data, member, done, private) -> Trained:
    method, folder = METHODS[name], Path(config.output) / "checkpoints" / architecture / name
    model = _network(config, position, name, data)
    epochs = (config.fine_tuning_epochs if method.start else config.epochs)[position]
    options = _options(config, epochs)
    options |= dict(folder=folder, label=f"{architecture} {method.label}")
    if method.start:
        options["init"] = done[method.start].variables
    if method.transition:
        start, end = epochs // 5, max(epochs // 5 + 1, 3 * epochs // 5)
        options["schedules"]["transition"] = training.linear(start / epochs, end / epochs)
    if method.teacher:
        teacher = _teacher(config, position, method, data, member, done)
        options |= dict(extra={"teacher": teacher}, extra_per_model=True)
        options["loss"] = losses.CLASS_LOSSES[config.distillation]()
    if private:
        options |= dict(optimizer=training.optimizer("adam", config.dp_learning_rate), **private.options)
    start = time.perf_counter()
    fitted = training.fit_ensemble(private.model if private else model, data.train, member, **options)
    variables = {key: tree for key, tree in fitted.variables.items() if key != THRESHOLD}  # of adaptive clipping
    pool, test = (training.predict_ensemble(model, variables, part.x) for part in (data.train, data.test))
    seconds, epsilon = time.perf_counter() - start, private and private.epsilon
    return Trained(architecture, name, model, variables, fitted.loss, pool, test, seconds, epsilon)


def _private(config: Config, position: int, name: str, data: Dataset) -> privacy.PrivateTraining:
    """Returns the private run of a row. A model's number of members is secret; the expected number is public."""
    return privacy.private_training(
        _network(config, position, name, data),
        losses.cross_entropy(),
        clippings.CLIPPINGS[config.clipping](config.clip_norm),
        n=_expected_members(config, data),
        batch_size=config.dp_batch_size,
        epochs=config.dp_epochs[position],
        delta=config.delta,
        target_epsilon=METHODS[name].epsilon,
    )


def _expected_members(config: Config, data: Dataset) -> int:
    return round(config.member_rate * len(data.train.y))


def _check_delta(config: Config, data: Dataset) -> None:
    """Raises ValueError unless delta is below one over the expected members of a model."""
    n = _expected_members(config, data)
    if config.delta >= 1 / n:
        raise ValueError(
            f"delta={config.delta:g} must be below 1 / {n} = {1 / n:.2g}, one over the expected members of a model: at "
            "that delta, publishing one random member in full would pass as private."
        )


def _options(config: Config, epochs: int) -> dict:
    return dict(
        epochs=epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        schedules={"learning_rate": training.SCHEDULES[config.schedule]},
        optimizer=training.optimizer("adam", config.learning_rate),
    )


def _teacher(config: Config, position: int, method: Method, data: Dataset, member, done) -> np.ndarray:
    """Returns the teacher's logits [m, n, classes]: a float network's, trained or cross-fitted on the same members."""
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
