"""Settings of the clipping study, one preset a line of the table below.

  preset         command                                                       time
  quick          python -m experiments.dp_clipping.run                         about 6 minutes on 2 cores
  fashion_mnist  python -m experiments.dp_clipping.run --preset=fashion_mnist  about 40 minutes on 2 cores
  paper          python -m experiments.dp_clipping.run --preset=paper          about one GPU-hour (modeled)

The figures are in expected/ and README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.dp_clipping.rules import RULES
from experiments.flags import Setting, field, idle
from gecko_jax import checks, datasets
from gecko_jax.training import OPTIMIZERS

PRIVATE = tuple(name for name in RULES if name != "none")
WITH_Z = ("global_high", "global_adapt")  # the rules that read the threshold
NETWORKS, REGRESSIONS = ("mlp", "cnn"), ("diabetes", "none")


@dataclasses.dataclass(frozen=True)
class Config:
    """Rules x optimizers, each at the best of its learning rates, and one rule's clip norms x learning rates."""

    dataset: str = field("digits", "data set; none: no classification", (*datasets.LOADERS, "tfds:<name>", "none"))
    data_dir: str | None = field(None, "folder to look for the data in")
    output: str = field("runs/dp_clipping", "folder for the reports and checkpoints; a killed run goes on from there")
    network: str = field("mlp", "cnn has two convolutions with tanh, 26,010 parameters on 28x28 images", NETWORKS)
    hidden: tuple[int, ...] = field((64,), "widths of the mlp")
    rules: tuple[str, ...] = field(tuple(RULES), "clipping rules; none is training without privacy", RULES)
    optimizers: tuple[str, ...] = field(("sgd", "adam"), "on private gradients DP-SGD and DP-Adam", OPTIMIZERS)
    models: int = field(4, "models of each row: seeds, all trained on the same members")
    seed: int = field(0, "of held-out records, initial values, draws and noise")
    held_out: float = field(0.2, "share of the training file that chooses learning rates and fits temperatures")
    epochs: int = field(30, "passes over the members")
    batch_size: int = field(64, "expected rows of a Poisson batch")
    epsilon: float = field(4.0, "budget of each private row, by privacy loss distributions, add-or-remove")
    delta: float = field(1e-4, "at which epsilon holds; below 1 / members")
    clip_norm: float = field(1.0, "R")
    threshold: float = field(20.0, "Z of the row that scales all gradients by R / Z, and where global-adapt's begins")
    sgd_rates: tuple[float, ...] = field((0.1, 0.3, 1.0, 3.0, 10.0), "learning rates that SGD chooses from")
    adam_rates: tuple[float, ...] = field((1e-3, 3e-3, 1e-2, 3e-2), "learning rates that Adam chooses from")
    temperature_epsilon: float = field(1.0, "budget of each temperature, spent on the held-out records")
    grid_rules: tuple[str, ...] = field(("flat", "global"), "rules of the clip norm x learning rate grid", PRIVATE)
    grid_clip_norms: tuple[float, ...] = field((0.1, 1.0, 10.0), "R of the grid; an empty list for no grid")
    grid_rates: tuple[float, ...] = field((0.03, 0.3, 3.0), "learning rates of the grid, times 1 / R: SGD")
    regression: str = field("diabetes", "embedded in scikit-learn", REGRESSIONS)
    regression_epochs: int = field(30, "passes over its members")
    regression_batch_size: int = field(32, "expected rows of its batches")
    regression_sgd_rates: tuple[float, ...] = field((0.003, 0.01, 0.03, 0.1, 0.3), "learning rates of its SGD")
    regression_delta: float = field(1e-3, "its delta")

    def __post_init__(self):
        checks.one_of("network", self.network, NETWORKS)
        for name in (*checks.not_empty("rules", self.rules), *self.grid_rules):
            checks.one_of("rule", name, RULES)
        if "none" in self.grid_rules:
            raise ValueError("grid_rules hold 'none', which has no clip norm; name clipping rules.")
        for name in checks.not_empty("optimizers", self.optimizers):
            checks.one_of("optimizer", name, OPTIMIZERS)
        checks.one_of("regression", self.regression, REGRESSIONS)
        checks.at_least("models", self.models, 2)
        checks.in_range("held_out", self.held_out, 0.01, 0.9)
        if EFFECTS["threshold"].applies(self):
            checks.at_least("threshold", self.threshold, self.clip_norm)
        for name in ("epsilon", "clip_norm", "temperature_epsilon"):
            checks.positive(name, getattr(self, name))
        for name in ("sgd_rates", "adam_rates", "regression_sgd_rates"):
            checks.not_empty(name, getattr(self, name))
            for rate in getattr(self, name):
                checks.positive(name, rate)
        for name in ("grid_clip_norms", "grid_rates"):
            for value in getattr(self, name):
                checks.positive(name, value)
        if self.grid_clip_norms and self.grid_rules:
            checks.not_empty("grid_rates", self.grid_rates)
        checks.sizes("hidden", self.hidden, "the widths of the mlp")
        for name in ("epochs", "batch_size", "regression_epochs", "regression_batch_size"):
            checks.integer(name, getattr(self, name), 1)
        for name in ("delta", "regression_delta"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must lie above 0 and below 1, and below 1 / members.")
        if self.dataset == "none" and self.regression == "none":
            raise ValueError("dataset='none' and regression='none' leave nothing to train; name one of the two.")

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)


def _grid(c: Config) -> bool:
    return bool(c.dataset != "none" and c.grid_rules and c.grid_clip_norms)


def _private(c: Config) -> bool:
    return _grid(c) or any(name != "none" for name in c.rules)


_CLASSES = Setting(lambda c: c.dataset != "none", "a --dataset")
_REGRESSION = Setting(lambda c: c.regression != "none", "a --regression")
_ADAM = Setting(lambda c: "adam" in c.optimizers, "adam among --optimizers")

# setting -> (whether something reads it, what it needs to be read); locations and what is always read are not here
EFFECTS = {
    **dict.fromkeys(("network", "epochs", "batch_size"), _CLASSES),
    "hidden": Setting(
        lambda c: c.regression != "none" or (c.dataset != "none" and c.network == "mlp"),
        "--network=mlp or a --regression",
    ),
    "sgd_rates": Setting(
        lambda c: c.dataset != "none" and any(name != "adam" for name in c.optimizers),
        "a --dataset, and another of --optimizers than adam",
    ),
    "adam_rates": _ADAM,
    "epsilon": Setting(_private, "a rule that is private"),
    "delta": Setting(lambda c: c.dataset != "none" and _private(c), "a --dataset and a rule that is private"),
    "clip_norm": Setting(lambda c: any(name != "none" for name in c.rules), "a rule that clips among --rules"),
    "threshold": Setting(
        lambda c: any(name in WITH_Z for name in (*c.rules, *(c.grid_rules if _grid(c) else ()))), " or ".join(WITH_Z)
    ),
    "temperature_epsilon": Setting(lambda c: c.dataset != "none" and _private(c), "a --dataset and a private rule"),
    "grid_rules": Setting(  # an empty list means no grid, which is an effect
        lambda c: c.dataset != "none" and (c.grid_clip_norms or not c.grid_rules), "a --dataset and --grid_clip_norms"
    ),
    "grid_clip_norms": Setting(
        lambda c: c.dataset != "none" and (c.grid_rules or not c.grid_clip_norms), "a --dataset and --grid_rules"
    ),
    "grid_rates": Setting(_grid, "a --dataset, --grid_rules and --grid_clip_norms"),
    **dict.fromkeys(("regression_epochs", "regression_batch_size", "regression_delta"), _REGRESSION),
    "regression_sgd_rates": Setting(
        lambda c: c.regression != "none" and any(name != "adam" for name in c.optimizers),
        "a --regression, and another of --optimizers than adam",
    ),
}


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
        models=32,
        held_out=0.1,
        epochs=40,
        batch_size=512,
        epsilon=2.0,
        delta=1e-5,
        regression="none",
    ),
}
