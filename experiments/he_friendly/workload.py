"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.he_friendly import data, train
from experiments.he_friendly.config import Config
from experiments.he_friendly.methods import METHODS
from experiments.work import Work, steps_of
from gecko_jax import losses
from gecko_jax.trees import take
from gecko_jax.types import Dataset


def workload(config: Config) -> list[Work]:
    """Returns the training of the tables that the config asks for; "encrypted" runs the recipe's student."""
    loaded = data.load(config.dataset, config.data_dir, config.side)
    n = len(loaded.train.y)
    works: list[Work] = []
    network = train.network_of(config, loaded)
    if {"recipe", "encrypted"} & set(config.tables):
        works += _rows(config, loaded, "recipe", network, config.recipe, (n, config.epochs, config.models))
    if "depth" in config.tables:
        for layers in config.depths:
            deep, sizes = train.deep_network_of(config, loaded, layers), (n, config.depth_epochs, config.models)
            works += _rows(config, loaded, f"{layers} layers", deep, config.depth_rows, sizes)
    if "leak" in config.tables:
        sizes = (n // 2, config.epochs, config.leak_models)
        works += _rows(config, loaded, "leak", network, config.leak_rows, sizes)
    return works


def _rows(config: Config, loaded: Dataset, table: str, network, names, sizes: tuple[int, int, int]) -> Iterator[Work]:
    members, epochs, models = sizes
    for name in names:
        method = METHODS[name]
        options: dict[str, Any] = {}
        if method.distilled:
            loss = losses.kullback_leibler(config.temperature, config.alpha, label_weight=1.0)
            options = dict(loss=loss, extra={"teacher": (loaded.num_classes or 1,)})
        yield Work(
            f"{table}: {method.label}", network(method), take(loaded.train, slice(0, 1)), models,
            steps_of(members, config.batch_size, epochs), config.batch_size,
            fits=1 + method.imitates,  # imitation, and as many epochs of fine-tuning
            kind=(table, method.norm), **options,
        )  # fmt: skip
