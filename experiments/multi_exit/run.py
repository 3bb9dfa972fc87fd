"""Runs the study: trains and measures every row, prints the table and says where the report lies.

python -m experiments.multi_exit.run [--preset=quick] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("multi_exit"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.multi_exit.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)

        def make():
            from experiments.multi_exit import measure

            return measure.study(config)

        part = studies.Part("", make, range(config.models))
        studies.run("multi_exit", config, PRESETS, Path(__file__).parent, [part])


if __name__ == "__main__":
    main()
