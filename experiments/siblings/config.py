"""Settings of the study, one preset a line of the table below.

  preset    command                                                                 time
  quick     python -m experiments.siblings.run                                      about 2 minutes on 2 idle cores
  location  python -m experiments.siblings.run --preset=location --data_dir=FOLDER  about 10 minutes on 2 idle cores

What came out is in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from gecko_jax import checks


@dataclasses.dataclass(frozen=True)
class Config:
    """One network and what is released beside it or in its place. Each field is a flag: --models=8."""

    dataset: str = field("digits", "data set", ("digits", "location"))
    data_dir: str | None = field(None, "folder to look for the data in")
    output: str = field("runs/siblings", "folder for the report and the checkpoints; a killed run goes on from there")
    models: int = field(6, "models of each row, each with its own members, 4 at least")
    seed: int = field(0, "of members, initial values and order")
    pool_rows: int = field(800, "records that members are drawn from, half of them for each model")
    public_rows: int = field(400, "records of DMP's public set; the others are the test set")
    hidden: tuple[int, ...] = field((64,), "widths of the network")
    small: tuple[int, ...] = field((12,), "widths of its on-device sibling")
    epochs: int = field(60, "passes over the members")
    batch_size: int = field(32, "rows of a batch")
    learning_rate: float = field(3e-3, "of Adam")
    folds: int = field(5, "teachers of KCD")
    submodels: int = field(10, "sub-models of SELENA")
    withheld: int = field(4, "sub-models that SELENA withholds each record from")
    bits: tuple[int, ...] = field((8, 4, 3, 2), "bits of the rounded and of the quantized networks")
    radius: float = field(0.15, "largest change of an entry of an adversarial example, entries lie in 0..1")
    weight: float = field(4.0, "of the similarity in unpairing")

    def __post_init__(self):
        checks.one_of("dataset", self.dataset, ("digits", "location"))
        checks.integer("models", self.models, 4)
        for name in ("pool_rows", "public_rows", "epochs", "batch_size"):
            checks.integer(name, getattr(self, name), 1)
        for name in ("learning_rate", "radius", "weight"):
            checks.positive(name, getattr(self, name))
        for name in ("hidden", "small"):
            checks.sizes(name, getattr(self, name), "widths of hidden layers")
        if len(self.hidden) != len(self.small):
            raise ValueError(
                f"small={self.small} must have as many layers as hidden={self.hidden}: an assistant is between."
            )
        for bits in self.bits:
            checks.in_range("bits", bits, 2, 8)
        checks.integer("folds", self.folds, 2)
        checks.in_range("withheld", checks.integer("withheld", self.withheld, 1), 1, self.submodels - 1)


PRESETS = {
    "quick": Config(),
    "location": Config(
        dataset="location", output="runs/siblings_location", models=5, pool_rows=1600, public_rows=1500,
        hidden=(128,), small=(24,), epochs=30, learning_rate=1e-3, folds=4, submodels=8, withheld=3, bits=(4, 2),
        radius=0.05,
    ),
}  # fmt: skip
