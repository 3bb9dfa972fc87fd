"""The training that each row of the study takes: settings in, `work.Work` out."""

from __future__ import annotations

from experiments.text_privacy.config import Config
from experiments.text_privacy.data import prepare
from experiments.text_privacy.methods import METHODS
from experiments.text_privacy.train import LOSS, network
from experiments.work import Work, private_steps, steps_of
from gecko_jax import clippings
from gecko_jax.types import Examples


def workload(config: Config) -> list[Work]:
    """Returns the training of the base and of all rows; one that is trained twice has two."""
    notes = prepare(config)
    model, public, n = network(config, notes), notes.public.causal(), len(notes.private["all"].tokens)
    like = Examples(public.x[:1], public.y[:1])
    sizes = config.batch_size, LOSS
    works = [Work("base", model, like, 1, steps_of(len(public.y), config.batch_size, config.base_epochs), *sizes)]
    plain = steps_of(n, config.batch_size, config.epochs)
    for name in config.rows:
        method = METHODS[name]
        if method.first or method.plain:
            works.append(Work(method.label, model, like, config.models, plain, *sizes, kind="plain"))
        if method.private:
            steps, label = private_steps(n, n // 10, config.private_epochs), f"{method.label}, privately"
            rule = clippings.automatic(1.0)
            works.append(Work(label, model, like, config.models, steps, n // 10, LOSS, rule, kind="private"))
    return works
