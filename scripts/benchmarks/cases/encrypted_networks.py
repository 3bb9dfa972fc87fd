"""The networks that scripts.benchmarks.encrypted trains and runs, each with its data."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from gecko_jax import activations, datasets, metrics, models, training
from gecko_jax.types import Examples, Model


class Trained(NamedTuple):
    """A trained network.

    Attributes:
      model, variables: the network.
      calibration: inputs that it was trained on.
      x: test inputs.
      accuracy: on them, before encryption.
    """

    model: Model
    variables: Any
    calibration: np.ndarray
    x: np.ndarray
    accuracy: float


class Tutorial(nn.Module):
    """The network of TenSEAL's tutorial."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (7, 7), (3, 3), padding="VALID")(x)
        x = nn.Dense(64)((x * x).reshape(x.shape[0], -1))
        return nn.Dense(10)(x * x)


class TwoConvolutions(nn.Module):
    """Two convolutions, an average pool, and three trained quadratics."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = activations.Quadratic()(nn.Conv(4, (5, 5), (2, 2), padding="VALID")(x))
        x = nn.avg_pool(nn.Conv(8, (3, 3), padding="VALID")(x), (2, 2), (2, 2))
        x = activations.Quadratic()(x).reshape(x.shape[0], -1)
        return nn.Dense(10)(activations.Quadratic()(nn.Dense(64)(x)))


def digits(epochs: int = 30) -> Trained:
    """Returns the MLP 64-32-10 with squares, on 8x8 digits."""
    model = models.create("mlp", 10, hidden=(32,), activation="square")
    data = datasets.load("digits")
    return _trained(model, data.train, data.test, epochs)


def tutorial(epochs: int = 40) -> Trained:
    """Returns the tutorial's network, on digits enlarged to 28x28."""
    data = datasets.load("digits")
    return _trained(models.from_linen(Tutorial()), *map(_enlarged, (data.train, data.test)), epochs)


def fashion(epochs: int = 4, examples: int = 20_000) -> Trained:
    """Returns the network of two convolutions, on Fashion-MNIST."""
    data = datasets.load("fashion_mnist")
    train = Examples(*(part[:examples] for part in data.train))
    return _trained(models.from_linen(TwoConvolutions()), train, data.test, epochs)


def _enlarged(examples: Examples) -> Examples:
    x = jax.image.resize(np.asarray(examples.x).reshape(-1, 8, 8, 1), (len(examples.y), 28, 28, 1), "linear")
    return examples._replace(x=np.asarray(x))


def _trained(model: Model, train: Examples, test: Examples, epochs: int) -> Trained:
    optimizer = training.optimizer("adam", 2e-3)
    fitted = training.fit(model, train, epochs=epochs, batch_size=32, optimizer=optimizer, seed=0)
    logits = training.predict(model, fitted.variables, test.x)
    calibration = np.asarray(train.x[:2000])
    return Trained(model, fitted.variables, calibration, np.asarray(test.x), metrics.accuracy(logits, test.y))
