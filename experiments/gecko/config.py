"""Settings of the Gecko study; presets.py beside this file lists its presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.flags import Setting, field, idle
from experiments.gecko.methods import FLOAT_NETWORK, METHODS
from experiments.gecko.networks import IMAGES, NETWORKS, Place, is_normalized, places
from gecko_jax import checks, datasets
from gecko_jax.clippings import CLIPPINGS
from gecko_jax.losses import CLASS_LOSSES
from gecko_jax.training import SCHEDULES
from gecko_jax.types import Model

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
PER_ARCHITECTURE = ("epochs", "fine_tuning_epochs", "dp_epochs")  # settings with one number for each architecture
MIN_RECORDS, MAX_REFERENCE = 100, 0.8
RULES = tuple(name for name in CLIPPINGS if name != "per_layer")
TEACHING = tuple(name for name, loss in CLASS_LOSSES.items() if "teacher" in loss().reads)


@dataclasses.dataclass(frozen=True)
class Config:
    """The study: networks on data sets x methods, `models` of each, each a target with the others as its shadows."""

    dataset: str = field("digits", "data set of the architectures that name none", DATASETS)
    data_dir: str | None = field(None, "folder to look for the data in")
    output: str = field(
        "runs/gecko", "folder for the report and for every finished row; a killed run goes on from there"
    )
    architectures: tuple[str, ...] = field(("mlp",), "networks; dataset:network is one of another data set", NETWORKS)
    methods: tuple[str, ...] = field(ROWS, "rows of the table", METHODS)
    models: int = field(8, "models of each row: seeds, each with its own members, 3 at least")
    seed: int = field(0, "of members, initial values and order")
    member_rate: float = field(0.5, "chance of an example to be a member of a model")
    records: int = field(0, "of the training file, from its beginning; 0: all")
    reference: float = field(0.0, "share of these that nobody trains on or attacks; some defenses read them")
    epochs: tuple[int, ...] = field((30,), "of each architecture's training")
    fine_tuning_epochs: tuple[int, ...] = field((30,), "of Phase II and of its control, from Phase I's end")
    batch_size: int = field(64, "rows of a batch")
    learning_rate: float = field(1e-3, "of Adam")
    schedule: str = field("cosine", "of the learning rate", SCHEDULES)
    hidden: tuple[int, ...] = field((512, 512, 512), "widths of the MLP")
    channels: tuple[int, ...] = field((32, 64), "filters of the LeNet")
    dense: int = field(128, "width of the LeNet's dense layer")
    width: float = field(1.0, "factor on the filters and units of the networks for 32 x 32 pixels; below 1 for a look")
    heterogeneous_teacher: str = field("lenet", "network that teaches Phase II heterogeneous", NETWORKS)
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
        self.places()
        checks.one_of("heterogeneous_teacher", self.heterogeneous_teacher, NETWORKS)
        for name in checks.not_empty("methods", self.methods):
            checks.one_of("method", name, METHODS)
        checks.at_least("models", self.models, 3)
        checks.in_range("member_rate", self.member_rate, 0.05, 0.95)
        if checks.integer("records", self.records, 0) and self.records < MIN_RECORDS:
            raise ValueError(f"records={self.records} must be 0 (all), or at least {MIN_RECORDS}.")
        checks.in_range("reference", self.reference, 0, MAX_REFERENCE)
        reading = [name for name in self.methods if METHODS[name].reads_reference]
        if reading and not self.reference:
            raise ValueError(f"reference=0: {reading} read rows that nobody trains on or attacks; try --reference=0.2.")
        for name in PER_ARCHITECTURE:
            if name in EFFECTS and not EFFECTS[name].applies(self):
                continue  # no row reads it: a preset's numbers for other architectures may stay
            if len(getattr(self, name)) != len(self.architectures):
                numbers = getattr(self, name)
                raise ValueError(f"{name}={numbers} needs one number for each of architectures={self.architectures}.")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta={self.delta!r} must lie above 0 and below 1, and below 1 / members of a model.")
        checks.one_of("clipping", self.clipping, RULES)
        for name in ("clip_norm", "dp_batch_size", "dp_learning_rate", "width"):
            checks.positive(name, getattr(self, name))

        self._check_training()

    def _check_training(self) -> None:
        """Raises ValueError, before anything is trained, for what training would refuse."""
        checks.sizes("hidden", self.hidden, "the widths of the mlp")
        checks.sizes("channels", self.channels, "one number for each of the lenet's two convolutions", 2)
        checks.sizes("dense", (self.dense,), "the width of the lenet's dense layer")
        for name in PER_ARCHITECTURE:
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

    def places(self) -> tuple[Place, ...]:
        """Returns the networks with their data sets, in the order of `architectures`."""
        return places(self.architectures, self.dataset)

    def parts(self) -> dict[str, Config]:
        """Returns the settings of each data set alone, by the name of its table: "" if there is one data set."""
        named = list(dict.fromkeys(place.dataset for place in self.places()))
        return {"" if len(named) == 1 else each.replace(":", "_"): self._part(each, len(named) == 1) for each in named}

    def _part(self, dataset: str, is_only: bool) -> Config:
        chosen = [place for place in self.places() if place.dataset == dataset]
        changes: dict = {"dataset": dataset, "architectures": tuple(place.network for place in chosen)}
        for name in PER_ARCHITECTURE:
            if len(numbers := getattr(self, name)) == len(self.architectures):
                changes[name] = tuple(numbers[place.index] for place in chosen)
        if not is_only:
            changes["output"] = str(Path(self.output) / dataset.replace(":", "_"))
        return dataclasses.replace(self, **changes)

    def cell(self, index: int, method: str) -> Config:
        """Returns the settings of one row, a network by its place in `architectures` under a method, alone."""
        each = self.places()[index]
        numbers = {name: (getattr(self, name)[index],) for name in PER_ARCHITECTURE if index < len(getattr(self, name))}
        return dataclasses.replace(
            self, dataset=each.dataset, architectures=(each.network,), methods=(method,), **numbers
        )

    def options(self, network: str) -> dict:
        """Returns the options of `models.create` for a network, without those of a method."""
        by_flags = {"mlp": dict(hidden=self.hidden), "lenet": dict(channels=self.channels, hidden=self.dense)}
        fixed = NETWORKS[network].options
        by_flags |= dict.fromkeys(IMAGES, dict(width=self.width))
        return {**(fixed or {}), **by_flags.get(network, {})}

    def network(self, network: str, method: str, num_classes: int) -> Model:
        """Returns the network of a row, as it is deployed; in a private row with GroupNorm in BatchNorm's place."""
        options = self.options(network)
        if METHODS[method].epsilon is not None and is_normalized(network):
            options["normalize"] = "group"
        return METHODS[method].model(NETWORKS[network].model, num_classes, **options)

    def note(self, network: str, method: str) -> str:
        """Returns what a row's table says of it: of a private row that another normalization is in BatchNorm's place.

        >>> Config().note("resnet20", "dp_eps8"), Config().note("mlp", "dp_eps8")
        ("Full precision's, with GroupNorm in BatchNorm's place", 'as Full precision')
        """
        note = METHODS[method].note
        if METHODS[method].epsilon is None or not is_normalized(network):
            return note
        normalized = "with GroupNorm in BatchNorm's place"
        return f"Full precision's, {normalized}" if note == FLOAT_NETWORK else f"{note}, {normalized}"

    def teacher(self, network: str, method: str) -> str | None:
        """Returns the network that teaches a row, as its row of full precision is; None if nothing teaches it."""
        teacher = METHODS[method].teacher
        return {"homogeneous": network, "heterogeneous": self.heterogeneous_teacher}.get(teacher or "", teacher)


def with_needs(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Returns methods after those that they go on from or are taught by, in the order of METHODS.

    >>> with_needs(("phase2_homogeneous",))
    ('full', 'xnor', 'phase2_homogeneous')
    """
    every = set(methods)
    while missing := {need for name in every for need in METHODS[name].needs} - every:
        every |= missing
    return tuple(name for name in METHODS if name in every)


def _rows(config: Config) -> list:
    return [METHODS[name] for name in with_needs(config.methods)]


def _uses(config: Config, network: str) -> bool:
    teachers = {METHODS[name].teacher for name in config.methods}
    teachers |= {config.heterogeneous_teacher} if "heterogeneous" in teachers else set()
    return network in {place.network for place in config.places()} | teachers


_TAUGHT = Setting(lambda c: any(row.teacher for row in _rows(c)), "a row of Phase II that is taught")
_PRIVATE = Setting(lambda c: any(row.epsilon is not None for row in _rows(c)), "a private row, such as dp_eps8")
_LENET = Setting(lambda c: _uses(c, "lenet"), "a lenet among --architectures or as --heterogeneous_teacher")

# setting -> (whether something reads it, what it needs to be read); locations and what is always read are not here
EFFECTS = {
    "hidden": Setting(lambda c: _uses(c, "mlp"), "an mlp among --architectures or as --heterogeneous_teacher"),
    "width": Setting(lambda c: any(_uses(c, name) for name in IMAGES), f"{', '.join(IMAGES)} among --architectures"),
    "channels": _LENET,
    "dense": _LENET,
    "fine_tuning_epochs": Setting(lambda c: any(row.start for row in _rows(c)), "a row that goes on from another"),
    "heterogeneous_teacher": Setting(lambda c: "phase2_heterogeneous" in c.methods, "the row phase2_heterogeneous"),
    "cross_fit": _TAUGHT,
    "distillation": _TAUGHT,
    **dict.fromkeys(("delta", "clipping", "clip_norm", "dp_epochs", "dp_batch_size", "dp_learning_rate"), _PRIVATE),
}
