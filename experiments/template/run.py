"""Runs the study: trains and measures every row, prints the table and says where the report lies.

python -m experiments.template.run [--preset=quick] [--estimate] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("template"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.template.config import PRESETS, Config

        def parts(config):
            return [studies.Part("", lambda: study(config), range(config.models))]

        studies.main(studies.CommandLine("template", Path(__file__).parent, Config, PRESETS, parts), argv)


def study(config):
    """Returns the one table of the study."""
    from experiments.template import measure

    return measure.study(config)


if __name__ == "__main__":
    main()
