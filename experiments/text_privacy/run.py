"""Runs the study: trains and measures every row, prints the table and says where the report lies.

python -m experiments.text_privacy.run [--preset=quick] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("text_privacy"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.text_privacy.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)

        def make():
            from experiments.text_privacy import measure

            return measure.study(config)

        part = studies.Part("", make, range(config.models))
        studies.run("text_privacy", config, PRESETS, Path(__file__).parent, [part])


if __name__ == "__main__":
    main()
