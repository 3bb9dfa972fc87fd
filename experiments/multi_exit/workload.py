"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from experiments.data_sizes import sizes_of
from experiments.multi_exit.config import Config
from experiments.multi_exit.measure import PATHS
from experiments.work import Work, steps_of
from gecko_jax import losses, models


def workload(config: Config) -> list[Work]:
    """Returns the training of the backbone and of the network with exits."""
    sizes = sizes_of(config.dataset, config.data_dir)
    network = models.create("mlp", sizes.classes, hidden=config.hidden)
    steps = steps_of(min(config.records, sizes.rows) // 2, config.batch_size, config.epochs)
    shared = sizes.like, config.models, steps, config.batch_size
    return [
        Work("Backbone", network, *shared),
        Work("Multi-exit", models.multi_exit(network, PATHS), *shared, loss=losses.over_exits()),
    ]
