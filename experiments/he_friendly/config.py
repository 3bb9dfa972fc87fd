"""Settings of the study of HE-friendly training, one preset a line of the table below.

  preset         command                                                        time
  quick          python -m experiments.he_friendly.run                          under 3 minutes on 2 idle cores
  ablation       python -m experiments.he_friendly.run --preset=ablation        6 minutes of CPU
  fashion_mnist  python -m experiments.he_friendly.run --preset=fashion_mnist   15 minutes of CPU
  three_classes  python -m experiments.he_friendly.run --preset=three_classes   2 minutes of CPU

Your own images: --preset=three_classes --dataset=/path/of/folder (one folder a class) or --dataset=/path/of/file.npz.
What came out is in expected/ and in README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import Setting, field, idle
from experiments.he_friendly.data import MADE
from experiments.he_friendly.methods import HE_FRIENDLY, METHODS, TEACHER
from gecko_jax import checks, datasets

TABLES = ("recipe", "depth", "leak", "encrypted")
RECIPE = ("teacher", "average", "square", "fixed", "norm", "smooth", "distilled", "student", "channel")
DEPTH = ("teacher", "square", "square_norm", "fixed", "trained", "norm", "smooth", "distilled", "student", "no_norm",
         "channel", "last_first", "penalized",
         "herpn", "quail", "min_max")  # fmt: skip
DATASETS = (*datasets.LOADERS, MADE, "<file>.npz", "<folder of images>")
WEIGHTS = ("none", "balanced")
# network -> how many convolutions and dense layers of free width it has; None: any number
LAYERS: dict[str, tuple[int | None, int | None]] = {"alexnet": (5, 2), "lenet": (2, 1), "mlp": (None, None)}


@dataclasses.dataclass(frozen=True)
class Config:
    """Teacher and students, the ablation over depth, what they leak, and the student under encryption."""

    dataset: str = field("digits", "data set, or your own images", DATASETS)
    data_dir: str | None = field(None, "folder to look for the data in")
    side: int = field(28, "height and width that images of your own folder are scaled to")
    output: str = field(
        "runs/he_friendly", "folder for the reports and the checkpoints; a killed run goes on from there"
    )
    tables: tuple[str, ...] = field(TABLES, "tables to make", TABLES)
    network: str = field("lenet", "network of all tables but the one over depth", LAYERS)
    channels: tuple[int, ...] = field((8, 16), "filters of the convolutions: 2 of the LeNet, 5 of the AlexNet")
    hidden: tuple[int, ...] = field((32,), "widths of the dense layers: 1 of the LeNet, 2 of the AlexNet")
    recipe: tuple[str, ...] = field(RECIPE, "rows of the recipe's table", METHODS)
    models: int = field(3, "models of each row: seeds, all trained on the same examples; 2 at least")
    epochs: int = field(20, "passes over the training file")
    batch_size: int = field(64, "rows of a batch")
    learning_rate: float = field(3e-3, "of Adam, with a cosine schedule")
    activation_rate: float = field(0.2, "factor on it for the polynomials' coefficients")
    transition: tuple[float, ...] = field((0.1, 0.8), "shares of the run at which the transition starts and ends")
    temperature: float = field(10.0, "T of the distillation")
    alpha: float = field(0.1, "weight of T² KL beside the cross-entropy")
    class_weights: str = field("none", "of the loss; balanced: by the inverse of a class's frequency", WEIGHTS)
    shift: float = field(1.5, "factor on the test images that stands for shifted data")
    depths: tuple[int, ...] = field((4, 8, 12), "layers of the deep networks, each with an activation")
    depth_rows: tuple[str, ...] = field(DEPTH, "rows of each depth", METHODS)
    width: int = field(64, "of the deep networks' layers")
    depth_epochs: int = field(40, "passes of the deep networks")
    leak_rows: tuple[str, ...] = field(("teacher", "smooth", "student"), "rows of the leak's table", METHODS)
    leak_models: int = field(8, "models of each of them, each trained on its own half; 4 at least")
    samples: int = field(64, "test images that are predicted under encryption")
    seed: int = field(0, "of members, initial values and order")

    def __post_init__(self):
        for name in checks.not_empty("tables", self.tables):
            checks.one_of("tables", name, TABLES)
        checks.one_of("network", self.network, LAYERS)
        checks.one_of("class_weights", self.class_weights, WEIGHTS)
        for rows in ("recipe", "depth_rows", "leak_rows"):
            names = getattr(self, rows)
            for name in names:
                checks.one_of(rows, name, METHODS)
            if TEACHER not in names:
                raise ValueError(f"{rows}={names} lacks {TEACHER!r}, which every gap is measured from. Add it.")
        for rows in ("recipe", "leak_rows"):
            bad = [name for name in getattr(self, rows) if METHODS[name].norm == "min_max"]
            if bad:
                raise ValueError(f"{rows} has {bad}, whose norm only the deep networks have: name it in depth_rows.")
        if "encrypted" in self.tables and HE_FRIENDLY not in self.recipe:
            raise ValueError(f"recipe={self.recipe} lacks {HE_FRIENDLY!r}, which the table encrypted runs. Add it.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Raises ValueError, before anything is trained, for what training would refuse."""
        for name, low in (("models", 2), ("leak_models", 4), ("epochs", 2), ("depth_epochs", 2), ("batch_size", 1),
                          ("width", 1), ("samples", 1), ("side", 6)):  # fmt: skip
            checks.integer(name, getattr(self, name), low)
        for name in ("learning_rate", "activation_rate", "temperature", "shift"):
            checks.positive(name, getattr(self, name))
        checks.in_range("alpha", self.alpha, 0, 1)
        convolutions, dense = LAYERS[self.network]
        checks.sizes("hidden", self.hidden, f"widths of the {self.network}'s dense layers", dense)
        checks.sizes("channels", self.channels, f"filters of the {self.network}'s convolutions", convolutions)
        checks.sizes("depths", checks.not_empty("depths", self.depths), "layers of the deep networks")
        start, end = checks.shape("transition", self.transition, (2,))
        last = 1 - 1 / min(self.epochs, self.depth_epochs)  # where the last epoch begins
        if not 0 <= start < end <= last:
            raise ValueError(
                f"transition={self.transition} must satisfy 0 <= start < end <= {last:g}, the share at which the last "
                "epoch begins: it trains the pure polynomials, which are deployed."
            )

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)

    def options(self) -> dict:
        """Returns the size of the network, as `models.create` takes it."""
        hidden = self.hidden[0] if self.network == "lenet" else self.hidden
        return dict(hidden=hidden) if self.network == "mlp" else dict(channels=self.channels, hidden=hidden)


def _makes(*tables: str):
    return lambda config: any(table in config.tables for table in tables)


_RECIPE = Setting(_makes("recipe", "encrypted"), "recipe or encrypted among --tables")
_DEPTH = Setting(_makes("depth"), "depth among --tables")
_LEAK = Setting(_makes("leak"), "leak among --tables")
_FOLDER = Setting(
    lambda c: c.dataset not in (*datasets.LOADERS, MADE) and not c.dataset.endswith(".npz"),
    "a --dataset that is a folder of your own images",
)

# setting -> (whether something reads it, what it needs to be read); locations and what is always read are not here
EFFECTS = {
    "side": _FOLDER,
    "channels": Setting(lambda c: c.network != "mlp", "--network=lenet or alexnet"),
    "recipe": _RECIPE,
    **dict.fromkeys(("depths", "depth_rows", "width", "depth_epochs"), _DEPTH),
    **dict.fromkeys(("leak_rows", "leak_models"), _LEAK),
    "samples": Setting(_makes("encrypted"), "encrypted among --tables"),
}

PRESETS = {
    "quick": Config(
        recipe=("teacher", "average", "square", "norm", "student"),
        depths=(12,),
        depth_rows=("teacher", "square", "norm", "student"),
        leak_rows=("teacher", "average", "smooth", "student"),
    ),
    "ablation": Config(output="runs/he_friendly_ablation", tables=("depth",)),
    "fashion_mnist": Config(
        dataset="fashion_mnist",
        output="runs/he_friendly_fashion_mnist",
        tables=("recipe", "leak", "encrypted"),
        hidden=(64,),
        recipe=("teacher", "average", "student"),
        epochs=4,
        batch_size=128,
        transition=(0.1, 0.6),
        leak_rows=("teacher", "student"),
        leak_models=4,
        samples=50,
    ),
    "three_classes": Config(
        dataset="three_classes",
        output="runs/he_friendly_three_classes",
        tables=("recipe", "encrypted"),
        recipe=("teacher", "average", "student", "unweighted"),
        channels=(4, 8),
        epochs=10,
        class_weights="balanced",
        samples=8,
    ),
}
