"""Settings of the study of memorization in fine-tuning, one preset a line of the table below.

  preset    command                                                    time
  quick     python -m experiments.memorisation.run                     under 4 minutes on 2 idle cores
  notes     python -m experiments.memorisation.run --preset=notes      all rows and tables: 9 minutes on 2 cores
  mails     python -m experiments.memorisation.run --preset=mails      an hour on 2 cores; needs three packages
  paper     python -m experiments.memorisation.run --preset=paper      your own text and GPT-2; one GPU-hour (modeled)

What came out is in expected/ and in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import Setting, field, idle
from experiments.memorisation.methods import ABLATIONS, FULL, METHODS, ROWS
from gecko_jax import checks

TABLES = ("upper", "crossing", "best", "ablation", "compression")
NOTES = "notes"  # made text, embedded
QUARTERS = 4  # evaluations of an epoch
PARTS = 50  # of pre-training: how finely its learning rate follows its schedule


@dataclasses.dataclass(frozen=True)
class Config:
    """Which way of fine-tuning a language model memorizes most at the same validation perplexity."""

    output: str = field("runs/memorisation", "folder for reports, bases and rows; a killed run goes on from there")
    private: str = field(NOTES, f"text to fine-tune on: {NOTES}, a prepared package, JSON lines, an mbox or a folder")
    public: tuple[str, ...] = field((NOTES,), "text to pre-train on, likewise")
    data_dir: str | None = field(None, "folder in which packages were prepared")
    weights: str | None = field(None, "file of a published GPT-2's weights instead of pre-training")
    tables: tuple[str, ...] = field(TABLES, "tables to make", TABLES)
    methods: tuple[str, ...] = field(ROWS, "rows of the tables upper, crossing and best", METHODS)
    ablations: tuple[str, ...] = field(ABLATIONS, "rows of the ablation", METHODS)
    models: int = field(5, "models of each row: seeds with rows, canaries and order of their own; 2 at least")
    vocabulary: int = field(2048, "tokens of the BPE that is learned on the public text")
    layers: int = field(4, "blocks of the transformer")
    width: int = field(128, "of its hidden states")
    heads: int = field(4, "of its attention")
    length: int = field(64, "tokens of a row")
    small_width: int = field(32, "of the small model that the compressed one is compared with")
    public_rows: int = field(62_500, "rows of public text that pre-training reads, each once at most")
    public_batch: int = field(32, "rows of a batch of pre-training")
    public_rate: float = field(3e-3, "of Adam in pre-training, with a cosine schedule")
    rows: int = field(512, "rows of private text that a model is fine-tuned on, its canaries included")
    nonmembers: int = field(448, "rows of other documents that it is not trained on")
    validation: int = field(128, "rows of other documents for perplexity; the same for all models")
    calibration: int = field(320, "rows of other documents for the threshold at 10 %; the same for all models")
    rows_per_document: int = field(6, "rows of a document at most: the first; one long mail must not decide an AUC")
    batch_size: int = field(16, "rows of a batch of fine-tuning without privacy")
    epochs: int = field(8, "passes over the rows at most")
    patience: int = field(4, "quarters of an epoch without a better validation perplexity after which a run ends")
    crossing: float = field(0.7, "the fixed perplexity: this share of the pre-trained model's validation perplexity")
    upper: float = field(0.8, "a higher one, which more rows reach: of the table upper")
    tuning_epochs: int = field(2, "passes at most of a run that compares learning rates")
    private_batch: int = field(128, "expected rows of a private batch")
    private_epochs: int = field(6, "passes that the private noise is calibrated for")
    delta: float = field(1e-4, "of the private rows, below 1 / rows")
    ladder: tuple[int, ...] = field((1, 2, 5, 10, 25), "how often a canary is repeated among the rows")
    secrets: int = field(1, "canaries of each number of repetitions")
    references: int = field(1000, "other fills of the canary's template, never trained on, for exposure by rank")
    seed: int = field(0, "of splits, initial values and order")

    def __post_init__(self):
        for name in checks.not_empty("tables", self.tables):
            checks.one_of("tables", name, TABLES)
        for rows in ("methods", "ablations"):
            for name in getattr(self, rows):
                checks.one_of(rows, name, METHODS)
        if FULL not in self.methods:
            raise ValueError(f"methods={self.methods} lacks {FULL!r}, which every difference is measured from. Add it.")
        for name, low in (("models", 2), ("vocabulary", 260), ("layers", 1), ("width", 1), ("heads", 1), ("length", 8),
                          ("small_width", 1), ("public_rows", 1), ("public_batch", 1), ("rows", 2),
                          ("nonmembers", 2), ("rows_per_document", 1),
                          ("validation", 1), ("calibration", 10), ("batch_size", 1),
                          ("epochs", 1), ("patience", 1), ("tuning_epochs", 1), ("private_batch", 1),
                          ("private_epochs", 1), ("secrets", 1), ("references", 8)):  # fmt: skip
            checks.integer(name, getattr(self, name), low)
        checks.sizes("ladder", checks.not_empty("ladder", self.ladder), "repetitions of the canaries")
        checks.positive("public_rate", self.public_rate)
        for name in ("crossing", "upper"):
            checks.in_range(name, getattr(self, name), 0, 1)
        checks.in_range("delta", self.delta, 0, 1 / self.rows)
        if self.width % self.heads or self.small_width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width} and small_width={self.small_width}.")
        if self.rows <= self.inserted:
            raise ValueError(f"rows={self.rows} must be above {self.inserted}, the rows that are canaries alone.")
        for name in ("batch_size", "private_batch"):
            if self.rows % (QUARTERS * (size := getattr(self, name))):
                raise ValueError(
                    f"rows={self.rows} must be a multiple of {QUARTERS} * {name} = {QUARTERS * size}: a quarter of an "
                    "epoch is a number of full batches."
                )

    @property
    def inserted(self) -> int:
        """Returns the number of training rows that are canaries."""
        return self.secrets * sum(self.ladder)

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)


_PRETRAINS = Setting(lambda c: c.weights is None, "no --weights")
_ABLATION = Setting(lambda c: "ablation" in c.tables, "ablation among --tables")
_COMPRESSION = Setting(lambda c: "compression" in c.tables, "compression among --tables")

# setting -> (whether something reads it, what it needs to be read); locations and what is always read are not here
EFFECTS = {
    **dict.fromkeys(
        ("vocabulary", "layers", "width", "heads", "public_rows", "public_batch", "public_rate"), _PRETRAINS
    ),
    "ablations": _ABLATION,
    "small_width": _COMPRESSION,
}

QUICK = Config(vocabulary=512, layers=2, width=32, heads=2, length=32, small_width=6, public_rows=8000,
               public_batch=16, rows=256, nonmembers=256, validation=96, calibration=200, private_batch=64,
               crossing=0.65, tables=("crossing", "best"),
               methods=(FULL, "head", "adapter2", "lora", "bitfit", "dp_lora_8", "dp_full_8"))  # fmt: skip
PRESETS = {
    "quick": QUICK,
    "notes": dataclasses.replace(QUICK, output="runs/memorisation_notes", tables=TABLES, methods=ROWS),
    "mails": Config(output="runs/memorisation_mails", private="mails", public=("austen", "perl_doc"),
                    tables=("upper", "crossing", "best")),
    "paper": Config(output="runs/memorisation_paper", private="private.jsonl", weights="gpt2/model.safetensors",
                    length=88, tables=("crossing", "best")),
}  # fmt: skip
