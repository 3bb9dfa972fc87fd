"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from experiments.audit.config import Config
from experiments.audit.few_shadows import PRUNED_SHARE
from experiments.data_sizes import sizes_of
from experiments.gecko import workload as gecko
from experiments.work import Work, steps_of
from gecko_jax import models


def workload(config: Config) -> list[Work]:
    """Returns the training of all tables: the rows of Gecko, and the networks that attacks are compared on."""
    sizes = sizes_of(config.dataset, config.data_dir)
    model = models.create("mlp", sizes.classes, hidden=config.strength_hidden)
    members = min(config.records or sizes.rows, sizes.rows) // 2
    few = config.few_shadows + config.few_targets

    def each(name: str, network, count: int, epochs: int) -> Work:
        steps = steps_of(members, config.batch_size, epochs)
        return Work(name, network, sizes.like, count, steps, config.batch_size, kind="strength")

    return [
        *gecko.workload(config),
        each("strength", model, config.strength_models, config.strength_epochs),
        each("few_shadows", model, few, config.strength_epochs),
        each("versions, retrained", models.pruned(model, PRUNED_SHARE, "weight"), few, config.few_retrain_epochs),
    ]
