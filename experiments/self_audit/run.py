"""Audits the library's own private training and prints empirical bounds beside the accounted epsilons.

python -m experiments.self_audit.run [--preset=quick|thorough] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("self_audit"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.self_audit.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)

        def make():
            from experiments.self_audit import measure

            return measure.study(config)

        part = studies.Part("", make, [config.seed])
        studies.run("self_audit", config, PRESETS, Path(__file__).parent, [part])


if __name__ == "__main__":
    main()
