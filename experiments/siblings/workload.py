"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from typing import Any

from experiments.siblings.config import Config
from experiments.siblings.train import Trainer, load, rules
from experiments.work import Work, steps_of
from gecko_jax import losses, models
from gecko_jax.trees import take
from gecko_jax.types import Model

DISTILLED = ("Kullback-Leibler", "continuation", "MixACM")


def workload(config: Config) -> list[Work]:
    """Returns the training of all rows; defenses and distillations count as trainings of the networks they make."""
    data = load(config)
    trainer, like = Trainer(config, data), take(data.pool.train, slice(0, 1))
    network, small = trainer.network(config.hidden), trainer.network(config.small)
    taught: dict[str, Any] = dict(loss=losses.kullback_leibler(), extra={"teacher": (data.pool.num_classes or 1,)})

    def each(name: str, model: Model, fits: float = 1, **options) -> Work:
        steps = steps_of(config.pool_rows // 2, config.batch_size, config.epochs)
        return Work(name, model, like, config.models, steps, config.batch_size, fits=fits, **options)

    return [
        each("full precision", network),
        each("DMP", network, 2),
        each("KCD", network, config.folds),  # as many teachers, each of all folds but one, and the student
        each("SELENA", network, 1 + config.submodels - config.withheld),
        *(each(f"student, {name}", network, **taught) for name in DISTILLED),
        *(each(f"{_bits(bits)}, trained", models.quantized(network, rules(bits), float_layers=()))
          for bits in (*config.bits, None)),
        each("small sibling", small, **taught),
        each("small sibling by an assistant", small, 2, **taught),
        each("small sibling, trained on", small),
        each("small sibling, unpaired", small, 2),
    ]  # fmt: skip


def _bits(bits: int | None) -> str:
    return "ternary" if bits is None else f"{bits} bit"
