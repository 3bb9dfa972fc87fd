"""Runs the study: trains every rule with every optimizer, prints the tables and says where the reports lie.

python -m experiments.dp_clipping.run [--preset=quick|fashion_mnist|paper] [--estimate] [--help]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import command

if TYPE_CHECKING:
    from experiments import studies

NOTES = (
    "Learning rates are chosen on held-out records without privacy: no ε here covers that choice.",
    "ECE, temperature: after a temperature fitted on the held-out records, privately (with its own ε, on records that "
    "were not trained on) but for the rows that are not private.",
    "Unequal factors: members whose gradient's factor, at the end, is not the constant that short gradients get.",
)


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("dp_clipping"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.dp_clipping.config import PRESETS, Config

        studies.main(studies.CommandLine("dp_clipping", Path(__file__).parent, Config, PRESETS, parts), argv)


def parts(config) -> Iterator[studies.Part]:
    """Yields the tables that the config asks for."""
    from experiments import studies
    from experiments.dp_clipping import data, measure, snli, train

    seeds = range(config.models)

    def rules(task_of, part):
        def make():
            task = task_of(config)
            folder = Path(config.output) / part / "checkpoints"
            rows = [
                train.train_row(config, task, rule, optimizer, folder / rule / optimizer)[0]
                for optimizer in config.optimizers
                for rule in config.rules
            ]
            notes = (*NOTES[: 1 if part == "regression" else 3], *([snli.note()] if part == "classification" else []))
            return measure.study(config, task, rows, notes)

        return make

    def grid():
        task, cells = data.classification(config), []
        for rule in config.grid_rules:
            for clip_norm in config.grid_clip_norms:
                folder = Path(config.output) / "grid" / "checkpoints" / rule / f"clip_norm_{clip_norm:g}"
                options = dict(clip_norm=clip_norm, rates=tuple(rate / clip_norm for rate in config.grid_rates))
                rows = train.train_row(config, task, rule, "sgd", folder, **options)
                cells += [(clip_norm, row) for row in sorted(rows, key=lambda row: row.rate)]
        return measure.grid(config, task, cells)

    if config.dataset != "none":
        yield studies.Part("classification", rules(data.classification, "classification"), seeds)
    if config.regression != "none":
        yield studies.Part("regression", rules(data.regression, "regression"), seeds)
    if config.dataset != "none" and config.grid_clip_norms and config.grid_rules:
        yield studies.Part("grid", grid, seeds)


if __name__ == "__main__":
    main()
