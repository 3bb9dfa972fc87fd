"""Runs the study: pre-trains, fine-tunes and attacks every row, and prints the tables.

python -m experiments.memorisation.run [--preset=quick|mails|paper] [--estimate] [--help]
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
    with command.reported("experiments.memorisation"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.memorisation.config import PRESETS, Config

        home = Path(__file__).parent
        studies.main(studies.CommandLine("experiments.memorisation", home, Config, PRESETS, parts), argv)


def parts(config) -> Iterator[studies.Part]:
    """Yields the tables that the config asks for."""
    from experiments import studies
    from experiments.memorisation import data, measure
    from experiments.memorisation.bases import Bases
    from experiments.memorisation.methods import COMPRESSION
    from experiments.memorisation.rows import Study

    @functools.cache
    def shared():
        corpus = data.load(config)
        return Study(config, corpus, Bases(config, corpus), {})

    rows = {"upper": config.methods, "crossing": config.methods, "best": config.methods, "ablation": config.ablations}
    for name, names in {**rows, "compression": COMPRESSION}.items():
        if name in config.tables:
            make = functools.partial(lambda name, names: measure.study(shared(), name, names), name, names)
            yield studies.Part(name, make, range(config.models))


if __name__ == "__main__":
    main()
