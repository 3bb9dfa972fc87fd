"""Settings of the study, one preset a line of the table below.

  preset    command                                                                    time
  quick     python -m experiments.multi_exit.run                                       about 2 minutes on 2 idle cores
  location  python -m experiments.multi_exit.run --preset=location --data_dir=FOLDER   about 20 minutes on 2 idle cores

What came out is in expected/ and in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from gecko_jax import checks, datasets


@dataclasses.dataclass(frozen=True)
class Config:
    """One MLP with an exit behind each hidden layer, answered at several thresholds and split behind each layer."""

    output: str = field("runs/multi_exit", "folder for the report and the checkpoints")
    dataset: str = field("digits", "data set", datasets.LOADERS)
    data_dir: str | None = field(None, "folder to look for the data in")
    thresholds: tuple[float, ...] = field((0.5, 0.8, 0.95), "of the largest probability, a row each")
    models: int = field(6, "models of each row, every one a target with the others as its shadows; 3 at least")
    records: int = field(800, "of the training file, from its beginning: half of them are a model's members")
    seed: int = field(0, "of members, initial values, order and jitter")
    hidden: tuple[int, ...] = field((64, 64, 64), "widths of the MLP")
    epochs: int = field(60, "passes over the members")
    batch_size: int = field(32, "rows of a batch")
    learning_rate: float = field(1e-3, "of Adam")
    jitter: float = field(0.02, "standard deviation of a modeled time, as a share of it")
    bandwidth: float = field(0.03, "of the density of times, as a share of the longest time")
    spread: float = field(2.0, "of TimeGuard's delays, as a share of the longest time")

    def __post_init__(self):
        for threshold in checks.not_empty("thresholds", self.thresholds):
            checks.in_range("thresholds", checks.positive("thresholds", threshold), 0, 1)
        checks.at_least("models", self.models, 3)
        checks.at_least("records", self.records, 20)
        checks.at_least("epochs", self.epochs, 1)
        checks.sizes("hidden", checks.not_empty("hidden", self.hidden), "widths of the mlp")
        for name in ("learning_rate", "jitter", "bandwidth", "spread"):
            checks.positive(name, getattr(self, name))


PRESETS = {
    "quick": Config(),
    "location": Config(
        dataset="location", output="runs/multi_exit_location", records=2000, hidden=(512, 256, 128), epochs=40,
        batch_size=64, thresholds=(0.3, 0.5, 0.8),
    ),
}  # fmt: skip
