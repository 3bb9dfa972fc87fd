"""The settings of one fine-tuned language model (scripts/fine_tune.py has a flag for each)."""

from __future__ import annotations

import dataclasses

from experiments.flags import Setting, field, idle
from gecko_jax import checks
from gecko_jax.datasets.text import PACKAGES
from gecko_jax.models.fine_tuning import FINE_TUNINGS

NOTES = "notes"  # the made-up clinical notes that are part of the package
SIZES = ("layers", "width", "heads", "length", "vocabulary", "pretrain_epochs", "rank", "reduction", "prefix_length",
         "epochs", "models", "notes", "pretrain_notes")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Private texts, the base that they are fine-tuned from, the method, and the privacy."""

    data: str = field(NOTES, f"private texts: a file of JSON lines, or {NOTES}, made-up clinical notes")
    text: str = field("text", "key of the text in each line")
    user: str | None = field(None, "key of the author in each line")
    time: str | None = field(None, "key of the time in each line, a number or an ISO date")
    encoding: str = field("utf-8", "of the file of data; latin-1, say")
    clean: bool = field(False, "remove quoted lines, signatures, addresses and lines that two texts share")
    output: str = field("runs/fine_tuned", "folder to save the model in; a killed run goes on from there")
    base: str | None = field(None, "folder of a pre-trained base, output/base of another run; none: pre-train one")
    public: str = field(
        NOTES, "public texts to pre-train on: a .txt file, a file of JSON lines, a folder of .txt files, or a name",
        (NOTES, *PACKAGES),
    )  # fmt: skip
    data_dir: str | None = field(None, "folder of the packages of text")
    notes: int = field(400, f"number of private notes, if data is {NOTES}")
    pretrain_notes: int = field(1000, f"number of public notes, if public is {NOTES}")
    vocabulary: int = field(512, "of the byte pairs that are learned on the public texts")
    layers: int = field(2, "blocks of the base")
    width: int = field(64, "of the base")
    heads: int = field(4, "attention heads of each block")
    length: int = field(64, "tokens of a row; at most the base's, which knows no further position")
    pretrain_epochs: int = field(4, "passes over the public rows")
    pretrain_learning_rate: float = field(3e-3, "of Adam, while the base is pre-trained")
    method: str = field("lora", "way of fine-tuning", FINE_TUNINGS)
    rank: int = field(8, "of the factors of lora")
    reduction: int = field(4, "width of the base over that of an adapter")
    prefix_length: int = field(8, "vectors of a prefix")
    epochs: int = field(10, "passes over the members' rows")
    batch_size: int | None = field(
        None, "rows of a batch; none: 32, or at least a tenth of the expected rows of a private run, whose noise is "
        "the same for a larger batch"
    )  # fmt: skip
    learning_rate: float = field(5e-3, "of Adam, or of DP-Adam")
    models: int = field(1, "how many to fine-tune, each on its own members; 4 or more allow shadow attacks")
    member_rate: float = field(0.5, "chance of a text to be a member, above 0 and below 1; the others show the leakage")
    epsilon: float | None = field(None, "budget of each model, from which the noise follows; none: not private")
    delta: float | None = field(None, "of the budget; none: the largest power of ten up to 1/(2n), n expected rows")
    clip_norm: float = field(1.0, "of a row's gradient in a private run")
    seed: int | None = field(
        None, "of splits, members, initial values and order; none: 0, and a secret one for a private run's noise"
    )

    def __post_init__(self):
        checks.one_of("method", self.method, FINE_TUNINGS)
        for name in SIZES:
            checks.integer(name, getattr(self, name), 1)
        checks.integer("length", self.length, 2)
        if self.batch_size is not None:
            checks.integer("batch_size", self.batch_size, 1)
        for name in ("learning_rate", "pretrain_learning_rate", "clip_norm"):
            checks.positive(name, getattr(self, name))
        if not 0 < self.member_rate < 1:
            raise ValueError(
                f"member_rate={self.member_rate!r} must lie above 0 and below 1: without texts that the model does not "
                "see nothing shows what it remembers."
            )
        if self.epsilon is not None:
            checks.positive("epsilon", self.epsilon)
        if self.data == NOTES and (self.user or self.time or self.text != "text"):
            raise ValueError("text, user and time are keys of a file; name it: --data=mine.jsonl.")
        for name, (applies, needs) in EFFECTS.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not applies(self):
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect here: it needs {needs}. Leave it out.")

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)


def _pretrains(config: Config) -> bool:
    return config.base is None


EFFECTS = {
    **{name: Setting(_pretrains, "a base that is pre-trained here, without --base") for name in
       ("public", "vocabulary", "layers", "width", "heads", "pretrain_epochs", "pretrain_learning_rate")},
    "pretrain_notes": Setting(lambda c: _pretrains(c) and c.public == NOTES, f"--public={NOTES} and no --base"),
    "notes": Setting(lambda c: c.data == NOTES, f"--data={NOTES}"),
    "encoding": Setting(lambda c: c.data != NOTES, "a file of your own, --data=mine.jsonl"),
    "clean": Setting(lambda c: c.data != NOTES, "a file of your own, --data=mine.jsonl"),
    "rank": Setting(lambda c: c.method == "lora", "--method=lora"),
    "reduction": Setting(lambda c: c.method == "adapter", "--method=adapter"),
    "prefix_length": Setting(lambda c: c.method == "prefix", "--method=prefix"),
    "delta": Setting(lambda c: c.epsilon is not None, "--epsilon"),
    "clip_norm": Setting(lambda c: c.epsilon is not None, "--epsilon"),
}  # fmt: skip
