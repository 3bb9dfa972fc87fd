"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from experiments.dp_clipping import data
from experiments.dp_clipping.config import Config
from experiments.dp_clipping.data import Task
from experiments.dp_clipping.rules import RULES
from experiments.work import Work, private_steps, steps_of
from gecko_jax.trees import take
from gecko_jax.types import Examples


def workload(config: Config) -> list[Work]:
    """Returns the training of every rule with every optimizer at all its learning rates, and of the grid."""
    works: list[Work] = []
    if config.dataset != "none":
        works += _rules(config, data.classification(config))
    if config.regression != "none":
        works += _rules(config, data.regression(config))
    if config.dataset != "none" and config.grid_clip_norms:
        task, cells = data.classification(config), len(config.grid_clip_norms) * len(config.grid_rates)
        works += [_work(config, task, rule, f"grid: {RULES[rule].label}", cells) for rule in config.grid_rules]
    return works


def _rules(config: Config, task: Task) -> Iterator[Work]:
    for optimizer in config.optimizers:
        for rule in config.rules:
            name = f"{task.name}: {RULES[rule].label}, {optimizer}"
            yield _work(config, task, rule, name, len(task.rates[optimizer]))


def _work(config: Config, task: Task, rule: str, name: str, fits: int) -> Work:
    shapes = jax.eval_shape(task.model.init, jax.random.key(0), task.train.x[:1])
    clipping = RULES[rule].make(config.clip_norm, max(config.threshold, config.clip_norm), shapes["params"])
    steps = (steps_of if clipping is None else private_steps)(int(task.member.sum()), task.batch_size, task.epochs)
    like = take(Examples(task.train.x, task.train.y, task.train.id), slice(0, 1))
    kind = task.name, rule == "none", rule == "per_layer"
    return Work(
        name, task.model, like, config.models, steps, task.batch_size, task.loss, clipping, fits=fits, kind=kind
    )  # fmt: skip
