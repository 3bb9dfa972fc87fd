"""Trains a row: one rule with one optimizer at each learning rate, of which held-out rows choose the best."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.dp_clipping.config import Config
from experiments.dp_clipping.data import Task
from experiments.dp_clipping.rules import RULES
from gecko_jax import privacy, training
from gecko_jax.privacy import Epsilon, PrivateTraining
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.types import AdaptiveClipping, Variables


class Trained(NamedTuple):
    """A row's models at the learning rate that did best.

    Attributes:
      rule, optimizer, rate: what it is.
      edge: whether that rate is the smallest or the largest tried, so that a better one may lie beyond.
      variables: of m models, leading axis, without an adaptive threshold.
      threshold: the first model's, at the end; None if the rule has none.
      history: mean training loss of each epoch, [epochs, m].
      held_out, test: outputs [m, n, ...] on the rows held out and on the test set.
      epsilon: what one of these models cost; None without privacy.
      noise_multiplier: 0 without privacy.
    """

    rule: str
    optimizer: str
    rate: float
    edge: bool
    variables: Variables
    threshold: np.ndarray | None
    history: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    epsilon: Epsilon | None
    noise_multiplier: float


def train_row(config: Config, task: Task, rule: str, optimizer: str, folder: Path, **grid) -> list[Trained]:
    """Returns a `Trained` for each learning rate, the best first; a rate at which the loss ran away is left out.

    Args:
      config, task: the settings, and what is learnt.
      rule, optimizer: names.
      folder: for checkpoints.
      **grid: clip_norm and rates, unless they are the config's.

    Raises:
      training.NotFinite: if no rate gave a model.
    """
    clip_norm = grid.get("clip_norm", config.clip_norm)
    rates = grid.get("rates", task.rates[optimizer])
    private = private_run(config, task, rule, clip_norm)
    # One optimizer serves all rates, which come in by the schedule: they share one compiled program.
    options = dict(optimizer=training.optimizer(optimizer, 1.0), seed=config.seed, loss=task.loss)
    options |= private.options if private else dict(epochs=task.epochs, batch_size=task.batch_size)
    model = private.model if private else task.model
    member = np.repeat(task.member[None], config.models, axis=0)
    rows, last = [], None
    for rate in rates:
        label = f"{RULES[rule].label}, {optimizer}, rate {rate:g}"
        try:
            fitted = training.fit_ensemble(
                model, task.train, member, schedules={"learning_rate": functools.partial(_constant, rate)}, label=label,
                folder=folder / f"rate_{rate:g}", **options,
            )  # fmt: skip
        except training.NotFinite as error:
            last = error
            continue
        variables = {name: tree for name, tree in fitted.variables.items() if name != THRESHOLD}
        held_out = training.predict_ensemble(task.model, variables, task.train.x[~task.member])
        test = training.predict_ensemble(task.model, variables, task.test.x)
        spent, noise = (private.epsilon, private.noise_multiplier) if private else (None, 0.0)
        edge = rate in (min(rates), max(rates))
        last_threshold = fitted.variables[THRESHOLD]["threshold"][0] if THRESHOLD in fitted.variables else None
        rows.append(
            Trained(
                rule, optimizer, rate, edge, variables, last_threshold, fitted.loss, held_out, test, spent, noise
            )
        )  # fmt: skip
    if not rows:
        raise last
    return sorted(rows, key=lambda row: _error(task, row.held_out))


def private_run(config: Config, task: Task, rule: str, clip_norm: float) -> PrivateTraining | None:
    """Returns the rule's noise, batches and gradients within the config's budget; None without privacy."""
    x = jax.ShapeDtypeStruct((1, *task.train.x.shape[1:]), np.float32)
    params = jax.eval_shape(task.model.init, jax.random.key(0), x)["params"]
    clipping = RULES[rule].make(clip_norm, max(config.threshold, clip_norm), params)
    if clipping is None:
        return None
    adaptive = isinstance(clipping, AdaptiveClipping)
    sizes = (int(task.member.sum()), task.batch_size, task.epochs)
    noise = _noise(*sizes, config.epsilon, task.delta, adaptive)
    return privacy.private_training(
        task.model, task.loss, clipping, n=sizes[0], batch_size=sizes[1], epochs=sizes[2], delta=task.delta,
        noise_multiplier=noise,
    )  # fmt: skip


@functools.cache
def _noise(n: int, batch_size: int, epochs: int, epsilon: float, delta: float, adaptive: bool) -> float:
    """Returns the noise multiplier of a budget: the same for all rules except those whose count takes a share."""
    sampling = privacy.poisson(n, batch_size, epochs * max(1, round(n / batch_size)))
    count = batch_size / 20 if adaptive else None
    return privacy.calibrate_noise(sampling, epsilon, delta, count_noise_multiplier=count)


def _constant(rate: float, done: float) -> float:
    del done
    return rate


def _error(task: Task, outputs: np.ndarray) -> float:
    """Returns the share of held-out rows that is wrong, or their mean squared error."""
    y = task.train.y[~task.member]
    if np.issubdtype(y.dtype, np.floating):
        return float(np.mean((outputs[..., 0] - y) ** 2))
    return float(np.mean(outputs.argmax(-1) != y))
