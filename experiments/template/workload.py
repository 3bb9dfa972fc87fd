"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from experiments.template import measure
from experiments.template.config import Config
from experiments.work import Work, steps_of
from gecko_jax import datasets
from gecko_jax.trees import take


def workload(config: Config) -> list[Work]:
    """Returns the training of all rows."""
    data = datasets.load("digits")
    like, steps = take(data.train, slice(0, 1)), steps_of(len(data.train.y), config.batch_size, config.epochs)
    return [
        Work(weights, measure.network(config, weights, data), like, config.models, steps, config.batch_size)
        for weights in config.weights
    ]
