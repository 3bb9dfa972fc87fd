"""The training that each row of the study takes at most: settings in, `work.Work` out.

A run ends early if it does not improve, and validation may try fewer learning rates; neither is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.memorisation.config import Config
from experiments.memorisation.methods import COMPRESSION, METHODS
from experiments.memorisation.reading import LOSS
from experiments.memorisation.train import tuned
from experiments.work import Work, private_steps, steps_of
from gecko_jax import clippings, models, quantizers
from gecko_jax.types import Examples, Model

RATES_TRIED = 5  # at most
GPT2 = {"vocabulary": 50257, "layers": 12, "width": 768, "heads": 12, "tied": True}  # the small one; others take longer
BITS = {"4bit": "block", "all_4bit": "", "pruned_4bit": ""}  # base -> where its weights are quantized


def workload(config: Config) -> list[Work]:
    """Returns the pre-training and the fine-tuning of all rows, each table's once."""
    tables = {"ablation": config.ablations, "compression": COMPRESSION}
    names = [name for table in config.tables for name in tables.get(table, config.methods)]
    names = list(dict.fromkeys(names))
    bases = ["float", *sorted({"tied", "small"} & {METHODS[name].base for name in names})]
    works = list(_pretraining(config, bases)) if config.weights is None else []
    return works + [_row(config, name) for name in names]


def _network(config: Config, base: str) -> Model:
    sizes = {name: getattr(config, name) for name in ("vocabulary", "layers", "width", "heads")}
    if base == "small":
        sizes["width"] = config.small_width
    options = {**sizes, "tied": base == "tied"} if config.weights is None else dict(GPT2)
    model = models.create("transformer", options.pop("vocabulary"), max_length=config.length, **options)
    if base in BITS:
        model = models.quantized(model, [(BITS[base], quantizers.uniform(4), None)], float_layers=())
    return model


def _like(config: Config) -> Examples:
    """Returns a row of tokens; a causal model reads all but the last."""
    tokens = np.ones((1, config.length - 1), np.int32)
    return Examples(tokens, tokens, np.zeros(1))


def _pretraining(config: Config, bases: list[str]) -> Iterator[Work]:
    steps = config.public_rows // config.public_batch
    for base in bases:
        model = _network(config, base)
        yield Work(f"pre-training: {base}", model, _like(config), 1, steps, config.public_batch, LOSS, kind=base)


def _row(config: Config, name: str) -> Work:
    method = METHODS[name]
    is_tied = method.base == "tied" or config.weights is not None
    model, trainable = tuned(config, method, _network(config, method.base), is_tied)
    clipping, size = None, config.batch_size
    steps = steps_of(config.rows, size, config.models * config.epochs + RATES_TRIED * config.tuning_epochs)
    if method.epsilon is not None:
        clipping, size = clippings.automatic(1.0), config.private_batch
        steps = private_steps(config.rows, size, (config.models + RATES_TRIED) * config.private_epochs)
    part = method.tuning if trainable is None or method.tuning == "head" else "part"
    # The models of a row are trained one after the other, so that they count as one.
    return Work(
        method.label, model, _like(config), 1, steps, size, LOSS, clipping, trainable=trainable,
        kind=(method.base == "small", method.epsilon is None, part),
    )  # fmt: skip
