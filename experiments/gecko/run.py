"""Runs the study: trains, attacks and prices every row, prints the table and says where the report lies.

    python -m experiments.gecko.run [--preset=quick|fashion_mnist|paper] [--help]
"""

from __future__ import annotations

import time
from pathlib import Path

from experiments import flags
from experiments.gecko.config import PRESETS, Config


def main(argv: list[str] | None = None) -> None:
    """Parses the flags and runs."""
    config = flags.parse(flags.define(Config, PRESETS), argv)
    from experiments.gecko.measure import study
    from experiments.gecko.train import membership, train_all
    from gecko_jax import datasets, reports

    start = time.perf_counter()
    folder = Path(config.output)
    data = datasets.load(config.dataset, config.data_dir)
    member = membership(config, data)
    trained = train_all(config, data, member)
    result = reports.write_record(folder, study(config, data, member, trained, time.perf_counter() - start))
    reports.write_html(folder / "report.html", result)
    print(reports.table(result))
    print(f"\nReport: {folder / 'report.html'}   figures: {folder / 'results.csv'}   record: {folder / 'record.json'}")


if __name__ == "__main__":
    main()
