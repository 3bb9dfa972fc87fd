"""Settings of the study, one preset a line of the table below.

  preset  command                                  time
  quick   python -m experiments.text_privacy.run   about 4 minutes of CPU

What came out is in expected/ and in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from experiments.text_privacy.methods import METHODS, ROWS
from gecko_jax import checks


@dataclasses.dataclass(frozen=True)
class Config:
    """A small language model of public notes, fine-tuned on private ones in several ways. Each field is a flag."""

    output: str = field("runs/text_privacy", "folder for the report and the checkpoints")
    rows: tuple[str, ...] = field(ROWS, "rows of the table", METHODS)
    models: int = field(3, "models of each row: seeds, all trained on the same notes; 2 at least")
    seed: int = field(0, "of notes, initial values and order")
    notes: int = field(120, "private notes to train on, and as many to compare them with")
    public_notes: int = field(250, "public notes, which the tokenizer and the base are trained on")
    authors: int = field(40, "authors of the private notes")
    vocabulary: int = field(400, "tokens of the byte-pair encoding")
    length: int = field(48, "tokens of a row")
    secret_length: int = field(20, "room for each secret in a row, in tokens")
    width: int = field(32, "of the transformer's residual stream; it has two blocks")
    base_epochs: int = field(10, "passes over the public notes")
    epochs: int = field(8, "passes over the private notes")
    batch_size: int = field(32, "rows of a batch; of a private one see privacy.suggest")
    learning_rate: float = field(3e-3, "of Adam without privacy")
    private_epochs: int = field(12, "passes of private training")
    private_learning_rate: float = field(2e-3, "of Adam on private gradients")
    target_epsilon: float = field(8.0, "budget of private training")

    def __post_init__(self):
        for name in checks.not_empty("rows", self.rows):
            checks.one_of("rows", name, METHODS)
        checks.at_least("models", self.models, 2)
        checks.at_least("notes", self.notes, 20)
        for name in ("learning_rate", "private_learning_rate", "target_epsilon"):
            checks.positive(name, getattr(self, name))


PRESETS = {"quick": Config()}
