"""Runs the study: trains, attacks and prices every row, prints the table and says where the report lies.

    python -m experiments.gecko.run [--preset=quick|fashion_mnist|paper] [--help]
"""

from __future__ import annotations

from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("gecko"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.gecko.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)
        part = studies.Part("", lambda: _study(config), range(config.models))
        studies.run("gecko", config, PRESETS, Path(__file__).parent, [part])


def _study(config):
    """Trains and measures."""
    from experiments.gecko.measure import study
    from experiments.gecko.train import membership, train_all
    from gecko_jax import datasets

    data = datasets.load(config.dataset, config.data_dir)
    member = membership(config, data)
    return study(config, data, member, train_all(config, data, member))


if __name__ == "__main__":
    main()
