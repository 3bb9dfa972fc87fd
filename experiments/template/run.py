"""Runs the study: trains and measures every row, prints the table and says where the report lies.

python -m experiments.template.run [--preset=quick] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("template"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.template.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)

        def make():
            from experiments.template import measure

            return measure.study(config)

        part = studies.Part("", make, range(config.models))
        studies.run("template", config, PRESETS, Path(__file__).parent, [part])


if __name__ == "__main__":
    main()
