"""Runs the study: trains teacher and students, attacks them, runs the student on ciphertexts, and prints the tables.

python -m experiments.he_friendly.run [--preset=quick|ablation|fashion_mnist|three_classes] [--estimate] [--help]
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import command

if TYPE_CHECKING:
    from experiments import studies


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("he_friendly"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.he_friendly.config import PRESETS, Config

        studies.main(studies.CommandLine("he_friendly", Path(__file__).parent, Config, PRESETS, parts), argv)


def parts(config) -> Iterator[studies.Part]:
    """Yields the tables that the config asks for."""
    from experiments import studies
    from experiments.he_friendly import ciphertext, data, leak, measure, train
    from experiments.he_friendly.methods import HE_FRIENDLY
    from gecko_jax import datasets

    @functools.cache
    def loaded():
        return data.load(config.dataset, config.data_dir, config.side)

    @functools.cache
    def recipe_rows():
        member = train.everybody(config, loaded())
        table = train.Table("recipe", train.network_of(config, loaded()), config.epochs, member)
        return train.train_rows(config, table, config.recipe, loaded())

    def recipe():
        summary = (
            f"The {config.network} with ReLU, and the same network made ready for encryption, one ingredient after the "
            f"other. Each row is {config.models} models with seeds of their own, trained on the same examples. Figures "
            "are means with 95 % intervals over the models."
        )
        title = f"HE-friendly training on {loaded().name}"
        return measure.study(config, title, summary, [measure.Group("", recipe_rows())], loaded())

    def depth():
        groups = []
        for layers in config.depths:
            network = train.deep_network_of(config, loaded(), layers)
            table = train.Table(f"depth/{layers}", network, config.depth_epochs, train.everybody(config, loaded()))
            rows = train.train_rows(config, table, config.depth_rows, loaded())
            groups.append(measure.Group(f"{layers} layers", rows))
        summary = (
            f"Networks of dense layers, {config.width} wide, each with an activation: what every ingredient is worth "
            f"as they become deeper. Each row is {config.models} models with seeds of their own. Figures are means "
            "with 95 % intervals over the models."
        )
        return measure.study(config, f"Depth and HE-friendly training on {loaded().name}", summary, groups, loaded())

    def leaks():
        member = datasets.coins(loaded().train.id, config.leak_models, config.seed)
        table = train.Table("leak", train.network_of(config, loaded()), config.epochs, member)
        return leak.study(config, train.train_rows(config, table, config.leak_rows, loaded()), loaded(), member)

    def encrypted():
        return ciphertext.study(config, recipe_rows()[HE_FRIENDLY], loaded())

    tables = {
        "recipe": (recipe, config.models),
        "depth": (depth, config.models),
        "leak": (leaks, config.leak_models),
        "encrypted": (encrypted, 1),
    }
    for name, (make, seeds) in tables.items():
        if name in config.tables:
            yield studies.Part(name, make, range(seeds))


if __name__ == "__main__":
    main()
