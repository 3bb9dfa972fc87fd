"""Settings of the Gecko study, one preset a line of the table below.

  preset         command                                                  time
  quick          python -m experiments.gecko.run                          under 2 minutes on 2 cores
  fashion_mnist  python -m experiments.gecko.run --preset=fashion_mnist   about 1.5 hours on 2 cores
  paper          python -m experiments.gecko.run --preset=paper           a GPU's work

The figures of quick and fashion_mnist are in expected/, the latter in README.md beside this file, too.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import Setting, field, idle
from experiments.gecko.methods import METHODS
from gecko_jax import checks, datasets
from gecko_jax.clippings import CLIPPINGS
from gecko_jax.losses import CLASS_LOSSES
from gecko_jax.training import SCHEDULES

ARCHITECTURES = ("lenet", "mlp")  # those of the paper
ROWS = (
    "full",
    "binary_connect",
    "binary_net",
    "xnor",
    "phase1_control",
    "phase2_homogeneous",
    "phase2_heterogeneous",
    "quadratic",
    "dp_eps8",
    "dp_eps2",
    "dp_binary",
)


DATASETS = (*datasets.LOADERS, "tfds:<name>")
RULES = tuple(name for name in CLIPPINGS if name != "per_layer")
TEACHING = tuple(name for name, loss in CLASS_LOSSES.items() if "teacher" in loss().reads)


@dataclasses.dataclass(frozen=True)
class Config:
    """The study: architectures x methods, `models` of each, every one a target with the others as its shadows."""

    dataset: str = field("digits", "data set", DATASETS)
    data_dir: str | None = field(None, "folder to look for the data in")
    output: str = field("runs/gecko", "folder for the report and the checkpoints; a killed run goes on from there")
    architectures: tuple[str, ...] = field(("mlp",), "networks", ARCHITECTURES)
    methods: tuple[str, ...] = field(ROWS, "rows of the table", METHODS)
    models: int = field(8, "models of each row: seeds, each with its own members, 3 at least")
    seed: int = field(0, "of members, initial values and order")
    member_rate: float = field(0.5, "chance of an example to be a member of a model")
    epochs: tuple[int, ...] = field((30,), "of each architecture's training")
    fine_tuning_epochs: tuple[int, ...] = field((30,), "of Phase II and of its control, from Phase I's end")
    batch_size: int = field(64, "rows of a batch")
    learning_rate: float = field(1e-3, "of Adam")
    schedule: str = field("cosine", "of the learning rate", SCHEDULES)
    hidden: tuple[int, ...] = field((512, 512, 512), "widths of the MLP")
    channels: tuple[int, ...] = field((32, 64), "filters of the LeNet")
    dense: int = field(128, "width of the LeNet's dense layer")
    heterogeneous_teacher: str = field("lenet", "network that teaches Phase II heterogeneous", ARCHITECTURES)
    cross_fit: int = field(0, "folds of cross-fitted teachers; 0: the teacher labels what it was trained on")
    distillation: str = field("symmetric_cross_entropy", "loss of Phase II", TEACHING)
    delta: float = field(1e-4, "of the private rows' guarantee, below 1 / expected members")
    clipping: str = field("automatic", "rule of the private rows", RULES)
    clip_norm: float = field(1.0, "of the private rows' clipping; with automatic and Adam any will do")
    dp_epochs: tuple[int, ...] = field((10,), "expected passes of the private rows, of each architecture")
    dp_batch_size: int = field(64, "expected rows of a Poisson batch")
    dp_learning_rate: float = field(0.02, "of DP-Adam")

    def __post_init__(self):
        checks.not_empty("architectures", self.architectures)
        for name in (*self.architectures, self.heterogeneous_teacher):
            checks.one_of("architecture", name, ARCHITECTURES)
        for name in self.methods:
            checks.one_of("method", name, METHODS)
        checks.at_least("models", self.models, 3)
        checks.in_range("member_rate", self.member_rate, 0.05, 0.95)
        for name in ("epochs", "fine_tuning_epochs", "dp_epochs"):
            if name in EFFECTS and not EFFECTS[name].applies(self):
                continue  # no row reads it: a preset's numbers for other architectures may stay
            if len(getattr(self, name)) != len(self.architectures):
                numbers = getattr(self, name)
                raise ValueError(f"{name}={numbers} needs one number for each of architectures={self.architectures}.")
        needed = {need for name in self.methods for need in METHODS[name].needs}
        if missing := sorted(needed - set(self.methods)):
            raise ValueError(f"methods={self.methods} need {missing} as well: they start from it or are taught by it.")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta={self.delta!r} must lie above 0 and below 1, and below 1 / members of a model.")
        checks.one_of("clipping", self.clipping, RULES)
        for name in ("clip_norm", "dp_batch_size", "dp_learning_rate"):
            checks.positive(name, getattr(self, name))

        self._check_training()

    def _check_training(self) -> None:
        """Raises ValueError, before anything is trained, for what training would refuse."""
        checks.sizes("hidden", self.hidden, "the widths of the mlp")
        checks.sizes("channels", self.channels, "one number for each of the lenet's two convolutions", 2)
        checks.sizes("dense", (self.dense,), "the width of the lenet's dense layer")
        for name in ("epochs", "fine_tuning_epochs", "dp_epochs"):
            checks.sizes(name, getattr(self, name), "passes over the members")
        checks.integer("batch_size", self.batch_size, 1)
        checks.positive("learning_rate", self.learning_rate)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        checks.one_of("distillation", self.distillation, TEACHING)
        if checks.integer("cross_fit", self.cross_fit, 0) == 1:
            raise ValueError("cross_fit=1 must be 0, or at least 2: a teacher labels the folds it was not trained on.")

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)

    def options(self, architecture: str) -> dict:
        """Returns the options of `models.create` for an architecture."""
        return {"mlp": dict(hidden=self.hidden), "lenet": dict(channels=self.channels, hidden=self.dense)}[architecture]


def _rows(config: Config) -> list:
    return [METHODS[name] for name in config.methods]


def _uses(config: Config, architecture: str) -> bool:
    teaches = config.heterogeneous_teacher if "phase2_heterogeneous" in config.methods else None
    return architecture in (*config.architectures, teaches)


_TAUGHT = Setting(lambda c: any(row.teacher for row in _rows(c)), "a row of Phase II that is taught")
_PRIVATE = Setting(lambda c: any(row.epsilon is not None for row in _rows(c)), "a private row, such as dp_eps8")
_LENET = Setting(lambda c: _uses(c, "lenet"), "a lenet among --architectures or as --heterogeneous_teacher")

# setting -> (whether something reads it, what it needs to be read); locations and what is always read are not here
EFFECTS = {
    "hidden": Setting(lambda c: _uses(c, "mlp"), "an mlp among --architectures or as --heterogeneous_teacher"),
    "channels": _LENET,
    "dense": _LENET,
    "fine_tuning_epochs": Setting(lambda c: any(row.start for row in _rows(c)), "a row that goes on from another"),
    "heterogeneous_teacher": Setting(lambda c: "phase2_heterogeneous" in c.methods, "the row phase2_heterogeneous"),
    "cross_fit": _TAUGHT,
    "distillation": _TAUGHT,
    **dict.fromkeys(("delta", "clipping", "clip_norm", "dp_epochs", "dp_batch_size", "dp_learning_rate"), _PRIVATE),
}


PAPER_ROWS = ("full", "binary_net", "xnor", "phase1_control", "phase2_homogeneous", "dp_eps8", "dp_eps2")

PRESETS = {
    "quick": Config(
        methods=tuple(name for name in ROWS if name != "dp_binary"),  # whose gradients take minutes here
        hidden=(128, 128, 128),
        channels=(16, 32),
        dense=64,
        epochs=(30,),
        fine_tuning_epochs=(20,),
    ),
    "fashion_mnist": Config(
        dataset="fashion_mnist",
        output="runs/gecko_fashion_mnist",
        architectures=("mlp", "lenet"),
        methods=PAPER_ROWS,
        models=3,
        epochs=(15, 3),
        fine_tuning_epochs=(10, 2),
        delta=1e-5,
        dp_epochs=(15, 3),
        dp_batch_size=512,
        dp_learning_rate=3e-3,
    ),
    "paper": Config(
        dataset="fashion_mnist",
        output="runs/gecko_paper",
        architectures=("mlp", "lenet"),
        methods=ROWS,
        models=8,
        epochs=(75, 75),
        fine_tuning_epochs=(75, 75),
        delta=1e-5,
        dp_epochs=(75, 75),
        dp_batch_size=512,
        dp_learning_rate=3e-3,
    ),
}
