"""Runs the study: trains and attacks every row, then compares attacks on one network; prints both tables.

python -m experiments.audit.run [--preset=quick|fashion_mnist|paper] [--help]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    with command.reported("audit"):
        from experiments import flags, studies  # here, so that Ctrl-C while JAX is loaded ends as it does later
        from experiments.audit.config import PRESETS, Config

        config = flags.parse(flags.define(Config, PRESETS), argv)
        studies.run("audit", config, PRESETS, Path(__file__).parent, parts(config))


def parts(config) -> Iterator[tuple[str, object]]:
    """(folder, function that makes its study) of the rows, and of the attacks' strength."""
    import numpy as np

    from experiments.audit import measure, strength
    from experiments.gecko.train import membership, train_all
    from gecko_jax import datasets
    from gecko_jax.trees import take

    def data():
        whole = datasets.load(config.dataset, config.data_dir)
        rows = np.arange(min(config.records, len(whole.train.y)))
        return whole._replace(train=take(whole.train, rows))

    def leaks():
        start, cut = time.perf_counter(), data()
        member = membership(config, cut)
        trained = train_all(config, cut, member)
        return measure.study(config, cut, member, trained, time.perf_counter() - start)

    yield "rows", leaks
    yield "strength", lambda: strength.study(config, data())


if __name__ == "__main__":
    main()
