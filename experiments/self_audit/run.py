"""Audits the library's own private training and prints what was found beside what was accounted for.

python -m experiments.self_audit.run [--preset=quick|thorough] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import flags, studies
from experiments.self_audit.config import PRESETS, Config


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    config = flags.parse(flags.define(Config, PRESETS), argv)

    def make():
        from experiments.self_audit import measure

        return measure.study(config)

    studies.run("self_audit", config, PRESETS, Path(__file__).parent, [("", make)])


if __name__ == "__main__":
    main()
