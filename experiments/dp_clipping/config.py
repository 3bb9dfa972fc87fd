"""Settings of the clipping study, one preset a line of the table below.

  preset         command                                                       time
  quick          python -m experiments.dp_clipping.run                         about 6 minutes on 2 cores
  fashion_mnist  python -m experiments.dp_clipping.run --preset=fashion_mnist  about 40 minutes on 2 cores
  paper          python -m experiments.dp_clipping.run --preset=paper          a GPU's work

What came out stands in expected/ and README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.dp_clipping.rules import RULES
from gecko_jax import checks
from gecko_jax.training import OPTIMIZERS


def _field(default, help: str):
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Config:
    """Rules x optimisers, each at the best of its learning rates, and one rule's clip norms x learning rates."""

    dataset: str = _field("digits", "a name of gecko_jax.datasets, or tfds:<name>; none: no classification")
    data_dir: str | None = _field(None, "folder to look for the data in")
    output: str = _field("runs/dp_clipping", "folder for the reports and checkpoints; a killed run goes on from there")
    network: str = _field("mlp", "mlp, or cnn: two convolutions with tanh, 26,010 parameters on 28x28 images")
    hidden: tuple[int, ...] = _field((64,), "widths of the mlp")
    rules: tuple[str, ...] = _field(tuple(RULES), "clipping rules; none is training without privacy")
    optimizers: tuple[str, ...] = _field(("sgd", "adam"), "on private gradients they are DP-SGD and DP-Adam")
    models: int = _field(4, "models of each row: seeds, all trained on the same members")
    seed: int = _field(0, "of held-out records, initial values, draws and noise")
    held_out: float = _field(0.2, "share of the training file that chooses learning rates and fits temperatures")
    epochs: int = _field(30, "passes over the members")
    batch_size: int = _field(64, "expected rows of a Poisson batch")
    epsilon: float = _field(4.0, "budget of each private row, by privacy loss distributions, add-or-remove")
    delta: float = _field(1e-4, "at which epsilon holds; below 1 / members")
    clip_norm: float = _field(1.0, "R")
    threshold: float = _field(20.0, "Z of the row that scales all gradients by R / Z, and where global-adapt's begins")
    sgd_rates: tuple[float, ...] = _field((0.1, 0.3, 1.0, 3.0, 10.0), "learning rates that SGD chooses from")
    adam_rates: tuple[float, ...] = _field((1e-3, 3e-3, 1e-2, 3e-2), "learning rates that Adam chooses from")
    temperature_epsilon: float = _field(1.0, "budget of each temperature, spent on the held-out records")
    grid_rules: tuple[str, ...] = _field(("flat", "global"), "rules of the clip norm x learning rate grid")
    grid_clip_norms: tuple[float, ...] = _field((0.1, 1.0, 10.0), "R of the grid; () for none")
    grid_rates: tuple[float, ...] = _field((0.03, 0.3, 3.0), "learning rates of the grid, times 1 / R: SGD")
    regression: str = _field("diabetes", "diabetes (embedded in scikit-learn), or none")
    regression_epochs: int = _field(30, "passes over its members")
    regression_batch_size: int = _field(32, "expected rows of its batches")
    regression_sgd_rates: tuple[float, ...] = _field((0.003, 0.01, 0.03, 0.1, 0.3), "learning rates of its SGD")
    regression_delta: float = _field(1e-3, "its delta")

    def __post_init__(self):
        checks.one_of("network", self.network, ("mlp", "cnn"))
        for name in (*checks.not_empty("rules", self.rules), *self.grid_rules):
            checks.one_of("rule", name, RULES)
        if "none" in self.grid_rules:
            raise ValueError("grid_rules hold 'none', which has no clip norm; name clipping rules.")
        for name in checks.not_empty("optimizers", self.optimizers):
            checks.one_of("optimizer", name, OPTIMIZERS)
        checks.one_of("regression", self.regression, ("diabetes", "none"))
        checks.at_least("models", self.models, 2)
        checks.between("held_out", self.held_out, 0.01, 0.9)
        checks.at_least("threshold", self.threshold, self.clip_norm)
        for name in ("epsilon", "clip_norm", "temperature_epsilon"):
            checks.positive(name, getattr(self, name))
        for name in ("sgd_rates", "adam_rates", "regression_sgd_rates"):
            checks.not_empty(name, getattr(self, name))


PRESETS = {
    "quick": Config(),
    "fashion_mnist": Config(
        dataset="fashion_mnist",
        output="runs/dp_clipping_fashion_mnist",
        hidden=(128,),
        models=3,
        held_out=0.1,
        epochs=8,
        batch_size=256,
        epsilon=2.0,
        delta=1e-5,
        sgd_rates=(0.1, 0.3, 1.0, 3.0),
        adam_rates=(3e-4, 1e-3, 3e-3),
        grid_rules=("flat",),
        regression="none",
    ),
    "paper": Config(
        dataset="fashion_mnist",
        output="runs/dp_clipping_paper",
        network="cnn",
        models=8,
        held_out=0.1,
        epochs=30,
        batch_size=512,
        epsilon=2.0,
        delta=1e-5,
        regression="none",
    ),
}
