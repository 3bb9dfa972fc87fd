"""Runs the study: trains, attacks and measures every row, prints the table and says where the report lies.

python -m experiments.siblings.run [--preset=quick|location] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("siblings"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.siblings.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)

        def make():
            from experiments.siblings import measure

            return measure.study(config)

        studies.run("siblings", config, PRESETS, Path(__file__).parent, [studies.Part("", make, range(config.models))])


if __name__ == "__main__":
    main()
