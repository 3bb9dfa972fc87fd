"""Audits the library's own private training and prints empirical bounds beside the accounted epsilons.

python -m experiments.self_audit.run [--preset=quick|thorough] [--estimate] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("self_audit"):
        from experiments import studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.self_audit.config import PRESETS, Config

        def parts(config):
            return [studies.Part("", lambda: study(config), [config.seed])]

        studies.main(studies.CommandLine("self_audit", Path(__file__).parent, Config, PRESETS, parts), argv)


def study(config):
    """Returns the one table of the study."""
    from experiments.self_audit import measure

    return measure.study(config)


if __name__ == "__main__":
    main()
