"""Settings of the audit study, one preset a line of the table below.

  preset         command                                                  time
  quick          python -m experiments.audit.run                          about 3 minutes on 2 cores
  fashion_mnist  python -m experiments.audit.run --preset=fashion_mnist   about 50 minutes on 2 cores
  paper          python -m experiments.audit.run --preset=paper           about one GPU-hour (modeled)

The figures are in expected/ and README.md beside this file. The rows are those of experiments.gecko.methods, and
trained as they are there; their settings are there too.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from experiments.gecko import config as gecko
from experiments.gecko.methods import METHODS
from gecko_jax import checks

ROWS = (
    "full",
    "normalized",
    "int8",
    "int4",
    "ternary",
    "binary_weights",
    "binary_net",
    "xnor",
    "phase1_control",
    "phase2_homogeneous",
    "dp_eps8",
    "dp_eps2",
)


@dataclasses.dataclass(frozen=True)
class Config(gecko.Config):
    """Gecko's rows under LiRA and RMIA; and how strong these attacks are on one network, by their shadows."""

    output: str = field("runs/audit", "folder for the reports and checkpoints; a killed run goes on from there")
    methods: tuple[str, ...] = field(ROWS, "rows of the table", METHODS)
    models: int = field(16, "models of each row, every one a target with the others as its shadows; 4 at least")
    hidden: tuple[int, ...] = field((128, 128, 128), "widths of the rows' MLP")
    records: int = field(1000, "of the training file, from its beginning: half of them are a model's members")
    strength_hidden: tuple[int, ...] = field((64,), "widths of the MLP that attacks are compared on")
    strength_shadows: int = field(16, "its shadow models; fewer are the first of them")
    strength_targets: int = field(4, "its targets, shadows to nobody; 2 at least")
    strength_pairs: int = field(2, "complementary pairs of references, for RMIA")
    strength_epochs: int = field(60, "of its training, at a constant learning rate")
    few_shadows: int = field(8, "shadow models of the comparison with 1, 2, 4 and 8 of them")
    few_targets: int = field(4, "its targets, shadows to nobody; 2 at least")
    few_retrain_epochs: int = field(10, "of the pruned version's retraining")

    def __post_init__(self):
        super().__post_init__()
        checks.at_least("models", self.models, 4)
        checks.at_least("records", self.records, 100)
        checks.at_least("strength_shadows", self.strength_shadows, 4)
        checks.at_least("strength_targets", self.strength_targets, 2)
        checks.at_least("strength_pairs", self.strength_pairs, 1)
        checks.sizes("strength_hidden", self.strength_hidden, "the widths of the mlp that attacks are compared on")
        checks.integer("strength_epochs", self.strength_epochs, 1)
        checks.at_least("few_shadows", self.few_shadows, 2)
        checks.at_least("few_targets", self.few_targets, 2)
        checks.integer("few_retrain_epochs", self.few_retrain_epochs, 1)
        if len(self.architectures) > 1:
            raise ValueError(f"architectures={self.architectures}: this study is of one; run it once for each.")

    @property
    def strength_models(self) -> int:
        """How many networks the attacks are compared on: shadows, targets and pairs of references."""
        return self.strength_shadows + self.strength_targets + 2 * self.strength_pairs


PRESETS = {
    "quick": Config(epochs=(40,), fine_tuning_epochs=(20,), dp_epochs=(15,), models=8, delta=1e-4),
    "fashion_mnist": Config(
        dataset="fashion_mnist",
        output="runs/audit_fashion_mnist",
        records=5000,
        hidden=(256, 256, 256),
        epochs=(80,),
        fine_tuning_epochs=(40,),
        dp_epochs=(30,),
        dp_batch_size=256,
        dp_learning_rate=0.01,
        strength_hidden=(256,),
        strength_shadows=64,
        strength_epochs=80,
        few_shadows=16,
        few_targets=8,
    ),
    "paper": Config(
        dataset="fashion_mnist",
        output="runs/audit_paper",
        architectures=("lenet",),
        records=60000,
        models=32,
        epochs=(18,),
        fine_tuning_epochs=(18,),
        delta=1e-5,
        dp_epochs=(18,),
        dp_batch_size=512,
        dp_learning_rate=3e-3,
        strength_hidden=(256,),
        strength_shadows=64,
        strength_epochs=80,
        few_shadows=16,
        few_targets=8,
    ),
}
