"""Settings of the study, one preset a line of the table below.

  preset  command                              time
  quick   python -m experiments.template.run   about 10 seconds on 2 idle cores

What came out is in expected/ and in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from gecko_jax import checks, quantizers


@dataclasses.dataclass(frozen=True)
class Config:
    """One small network, its weights in several quantizers. Each field is a flag: --models=8."""

    output: str = field("runs/template", "folder for the report and the checkpoints")
    weights: tuple[str, ...] = field(("identity", "ternary", "xnor"), "rows of the table", quantizers.QUANTIZERS)
    models: int = field(4, "models of each row: seeds, all trained on the same examples; 2 at least")
    seed: int = field(0, "of initial values and order")
    hidden: tuple[int, ...] = field((32,), "widths of the MLP")
    epochs: int = field(20, "passes over the training file")
    batch_size: int = field(64, "rows of a batch")
    learning_rate: float = field(3e-3, "of Adam")

    def __post_init__(self):
        for name in checks.not_empty("weights", self.weights):
            checks.one_of("weights", name, quantizers.QUANTIZERS)
        checks.at_least("models", self.models, 2)
        checks.positive("learning_rate", self.learning_rate)
        checks.at_least("epochs", self.epochs, 1)


PRESETS = {"quick": Config()}
