"""Holds what is learned: images in classes, or a real number."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import numpy as np

from experiments.dp_clipping.config import Config
from gecko_jax import datasets, keys, losses, models
from gecko_jax.types import Examples, Loss, Model


class Task(NamedTuple):
    """Attributes:
    name: of the data set.
    model, loss: what is trained, and down which loss.
    train, test: host arrays.
    member: bool [n], the rows of `train` that are trained on; the others are held out.
    epochs, batch_size, delta: of its runs.
    rates: {optimizer: learning rates to choose from}.
    """

    name: str
    model: Model
    loss: Loss
    train: Examples
    test: Examples
    member: np.ndarray
    epochs: int
    batch_size: int
    delta: float
    rates: dict[str, tuple[float, ...]]


class CNN(nn.Module):
    """The network that papers on private training use for 28x28 images: 16 filters 8x8, 32 filters 4x4, tanh."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(16, (8, 8), strides=(2, 2), padding=2)(x))
        x = nn.max_pool(x, (2, 2), (1, 1))
        x = nn.tanh(nn.Conv(32, (4, 4), strides=(2, 2), padding="VALID")(x))
        x = nn.max_pool(x, (2, 2), (1, 1))
        return nn.Dense(10)(nn.tanh(nn.Dense(32)(x.reshape(len(x), -1))))


def classification(config: Config) -> Task:
    """Returns the task of the config's images."""
    data = datasets.load(config.dataset, config.data_dir)
    network = models.from_linen(CNN()) if config.network == "cnn" else None
    network = network or models.create("mlp", data.num_classes, hidden=config.hidden)
    member = _members(len(data.train.y), config)
    sizes = (config.epochs, config.batch_size, config.delta, _rates(config, config.sgd_rates))
    return Task(config.dataset, network, losses.cross_entropy(), data.train, data.test, member, *sizes)


def regression(config: Config) -> Task:
    """Returns the task of diabetes progression after a year: 442 patients (Efron et al. 2004), a fifth for tests.

    Inputs are standardized over all patients, which no epsilon here covers; the target is in units of 80 around 150,
    which are public constants.
    """
    from sklearn.datasets import load_diabetes

    raw = load_diabetes()
    x, y = (raw.data * np.sqrt(len(raw.data))).astype(np.float32), ((raw.target - 150) / 80).astype(np.float32)
    tests = keys.generator(config.seed, "diabetes").permutation(len(y)) < len(y) // 5
    train, test = (Examples(x[rows], y[rows], np.flatnonzero(rows)) for rows in (~tests, tests))
    network = models.create("mlp", 1, hidden=config.hidden[:1])
    rates = _rates(config, config.regression_sgd_rates)
    sizes = (config.regression_epochs, config.regression_batch_size, config.regression_delta, rates)
    return Task("diabetes", network, losses.squared_error(), train, test, _members(len(train.y), config), *sizes)


def _rates(config: Config, sgd: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    return {name: config.adam_rates if name == "adam" else sgd for name in ("sgd", *config.optimizers)}


def _members(n: int, config: Config) -> np.ndarray:
    """Returns all but the held-out share, whose size is public."""
    order = keys.generator(config.seed, "held out").permutation(n)
    return order >= round(config.held_out * n)
