"""Runs the study: trains, attacks and prices every row, prints the table and says where the report lies.

python -m experiments.gecko.run [--preset=quick|fashion_mnist|location|cifar10|paper] [--estimate] [--help]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import command

if TYPE_CHECKING:
    from experiments import studies


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("gecko"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.gecko.config import Config
        from experiments.gecko.presets import PRESETS

        studies.main(studies.CommandLine("gecko", Path(__file__).parent, Config, PRESETS, parts), argv)


def parts(config) -> Iterator[studies.Part]:
    """Yields a table for each data set, with the paper's tables beside it."""
    import functools

    from experiments import studies
    from experiments.gecko import beside, grid

    for name, part in config.parts().items():
        make, after = functools.partial(grid.study, part), functools.partial(beside.text, part)
        yield studies.Part(name, make, range(config.models), after)


if __name__ == "__main__":
    main()
