"""Trains rows of the study on demand, each with those that it goes on from or is taught by.

What a run has trained lies in `checkpoints/` below the study's folder, and is read from there instead of trained again.
"""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.gecko.config import Config, with_needs
from experiments.gecko.methods import METHODS, TRANSFORMS, Method
from gecko_jax import clippings, datasets, losses, privacy, training
from gecko_jax.defenses import Defense, released
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.types import Dataset, Examples, Model, Variables


class Trained(NamedTuple):
    """A row's models.

    Attributes:
      architecture, method: names.
      model: the network, as it is deployed.
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


class Trainer:
    """Trains the rows of a config's networks; a row that others need is trained once.

    Args:
      config: the settings, of one data set.
      data: it.
      member: bool [m, n], who trains on what.
      wanted: (place of a network in `architectures`, method) of the rows that will be asked for.
      reference: rows that are neither trained on nor attacked; None if no row reads them.

    Raises:
      ValueError: a private row whose delta is not below one over the expected members.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        member: np.ndarray,
        wanted: Sequence[tuple[int, str]],
        reference: Examples | None = None,
    ):
        self.config, self.data, self.member, self.reference, self._done = config, data, member, reference, {}
        every = [(index, name) for index, method in wanted for name in with_needs((method,))]
        private = list(dict.fromkeys(each for each in every if METHODS[each[1]].epsilon is not None))
        if private:
            _check_delta(config, data)
        # Accounting takes seconds and no accelerator: the private rows' is done while the rows before them are trained.
        self._threads = concurrent.futures.ThreadPoolExecutor(1)
        self._private = {each: self._threads.submit(_private, config, *each, data) for each in private}
        self._later = [need for index, method in wanted for need in ((index, n) for n in METHODS[method].needs)]

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *unused: Any) -> None:
        self._threads.shutdown(cancel_futures=True)

    def train(self, index: int, name: str) -> Trained:
        """Returns the row of a network, by its place in `architectures`, under a method."""
        if (index, name) in self._done:
            return self._done[index, name]
        self._done = {
            each: row for each, row in self._done.items() if each[0] == index
        }  # the others' would fill memory
        needed = {need: self.train(index, need) for need in METHODS[name].needs}
        row = self._train(index, name, needed) if METHODS[name].is_trained else self._answered(name, needed)
        if (index, name) in self._later:
            self._done[index, name] = row
        return row

    def _train(self, index: int, name: str, needed: dict[str, Trained]) -> Trained:
        config, method, network = self.config, METHODS[name], self.config.places()[index].network
        private = self._private[index, name].result() if (index, name) in self._private else None
        model = config.network(network, name, self.data.num_classes)
        epochs = (config.fine_tuning_epochs if method.start else config.epochs)[index]
        options = _options(config, epochs)
        options |= dict(folder=self._folder(network, name), label=f"{network} {method.label}")
        if method.start:
            start = needed[method.start].variables
            options["init"] = _start(model, method, start, self.data.train.x[:1])
        options["schedules"] |= method.schedules
        if method.transition:
            first, last = epochs // 5, max(epochs // 5 + 1, 3 * epochs // 5)
            options["schedules"]["transition"] = training.linear(first / epochs, last / epochs)
        if method.teacher:
            teacher = self._teacher(index, name, needed)
            options |= dict(extra={"teacher": teacher}, extra_per_model=True)
            options["loss"] = losses.CLASS_LOSSES[config.distillation]()
        if private:
            options |= dict(optimizer=training.optimizer("adam", config.dp_learning_rate), **private.options)
        began, defense = time.perf_counter(), method.make_defense()
        trained = private.model if private else model
        fitted = defense.train(trained, self.data.train, self.member, reference=self.reference, **options)
        variables = {key: tree for key, tree in fitted.variables.items() if key != THRESHOLD}  # of adaptive clipping
        pool, test = self._released(defense, model, variables)
        seconds, epsilon = time.perf_counter() - began, private and private.epsilon
        return Trained(network, name, model, variables, fitted.loss, pool, test, seconds, epsilon)

    def _answered(self, name: str, needed: dict[str, Trained]) -> Trained:
        """Returns a row of the networks that another one has trained."""
        (row,) = needed.values()
        pool, test = self._released(METHODS[name].make_defense(), row.model, row.variables)
        return row._replace(method=name, pool=pool, test=test, seconds=0.0)

    def _released(self, defense: Defense, model: Model, variables: Variables) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the networks answer on the pool and on the test set."""
        ask = functools.partial(
            released, defense, model, variables, self.data.train, self.member, reference=self.reference
        )
        return ask(seed=self.config.seed), ask(seed=self.config.seed, rows=self.data.test)

    def _teacher(self, index: int, name: str, needed: dict[str, Trained]) -> np.ndarray:
        """Returns logits [m, n, classes] of a float network, trained or cross-fitted on the same members."""
        config, student = self.config, self.config.places()[index].network
        network = config.teacher(student, name)
        model = config.network(network, "full", self.data.num_classes)
        teacher = METHODS[name].teacher
        folder = self._folder(student, f"teacher_{teacher}")
        options = _options(config, config.epochs[index]) | dict(folder=folder, label=f"{network} teacher")
        if config.cross_fit:
            return training.cross_fitted_logits(model, self.data.train, self.member, config.cross_fit, **options)
        if teacher == "homogeneous":
            return needed["full"].pool
        fitted = training.fit_ensemble(model, self.data.train, self.member, **options)
        return training.predict_ensemble(model, fitted.variables, self.data.train.x)

    def _folder(self, network: str, name: str) -> Path:
        return Path(self.config.output) / "checkpoints" / network / name


def train_all(config: Config, data: Dataset, member: np.ndarray, reference: Examples | None = None) -> list[Trained]:
    """Trains every architecture x method of the config; `reference` rows are those of `Trainer`."""
    wanted = [(index, name) for index in range(len(config.architectures)) for name in with_needs(config.methods)]
    with Trainer(config, data, member, wanted, reference) as trainer:  # a row comes after those it needs
        rows = {each: trainer.train(*each) for each in wanted}
    return [rows[index, name] for index in range(len(config.architectures)) for name in config.methods]


def _start(model: Model, method: Method, variables: Variables, x: np.ndarray) -> Variables:
    """Returns variables [m, ...] of a row that goes on from a trained one."""
    if method.transform is None:
        return variables
    start = TRANSFORMS[method.transform[0]].start
    assert start is not None  # METHODS gives such a row no start
    return jax.tree.map(np.asarray, jax.vmap(lambda each: start(model, each, x))(variables))


def _private(config: Config, index: int, name: str, data: Dataset) -> privacy.PrivateTraining:
    """Returns the private run of a row. A model's number of members is secret; the expected number is public."""
    return privacy.private_training(
        config.network(config.places()[index].network, name, data.num_classes),
        losses.cross_entropy(),
        clippings.CLIPPINGS[config.clipping](config.clip_norm),
        n=_expected_members(config, data),
        batch_size=config.dp_batch_size,
        epochs=config.dp_epochs[index],
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
