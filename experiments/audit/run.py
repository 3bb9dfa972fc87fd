"""Runs the study: trains and attacks every row, then compares attacks on one network; prints both tables.

python -m experiments.audit.run [--preset=quick|fashion_mnist|paper] [--estimate] [--help]
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
    with command.reported("audit"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.audit.config import PRESETS, Config

        studies.main(studies.CommandLine("audit", Path(__file__).parent, Config, PRESETS, parts), argv)


def parts(config) -> Iterator[studies.Part]:
    """Yields the tables of the rows, of the attacks' strength, of few shadows, and of two versions together."""
    from experiments import studies
    from experiments.audit import few_shadows, measure, strength
    from experiments.gecko.grid import load
    from experiments.gecko.train import membership, train_all

    def data():
        return load(config)[0]

    def leaks():
        subset, reference = load(config)
        member = membership(config, subset)
        return measure.study(config, subset, member, train_all(config, subset, member, reference))

    yield studies.Part("rows", leaks, range(config.models))
    yield studies.Part("strength", lambda: strength.study(config, data()), range(config.strength_models))
    few = range(config.few_shadows + config.few_targets)
    yield studies.Part("few_shadows", lambda: few_shadows.study(config, data()), few)
    yield studies.Part("versions", lambda: few_shadows.versions(config, data()), few)


if __name__ == "__main__":
    main()
