"""One network of any combination: the settings, training and loading that scripts/train.py and scripts/audit.py share.

With `models` above 1 the same recipe is trained several times, each on its own members: every one can then be attacked
with thresholds chosen on the others.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import flax.serialization
import numpy as np

from experiments import flags
from gecko_jax import activations, checks, datasets, integer, losses, models, quantizers, reports, training
from gecko_jax.models.blocks import ORDERS
from gecko_jax.training import OPTIMIZERS, SCHEDULES
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Model, Variables


def _field(default, help: str):
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Config:
    """Data set, architecture, quantisers, activation, distillation and loss of one network."""

    dataset: str = _field("digits", "a name of gecko_jax.datasets, or tfds:<name>")
    data_dir: str | None = _field(None, "folder to look for the data in")
    output: str = _field("runs/model", "folder to save the model in; a killed run goes on from there")
    architecture: str = _field("mlp", "of gecko_jax.models.MODELS")
    hidden: tuple[int, ...] = _field((128, 128), "widths of the mlp; the lenet's dense layer is the first of them")
    channels: tuple[int, ...] = _field((32, 64), "filters of the lenet")
    order: str = _field("post", "post: layer, BatchNorm, activation; xnor: BatchNorm, sign, layer, activation")
    activation: str = _field("relu", "of gecko_jax.activations")
    normalize: bool = _field(False, "BatchNorm in the order post")
    weights: str = _field("full", "quantiser of the weights, of gecko_jax.quantizers")
    inputs: str = _field("full", "quantiser of the layers' inputs")
    float_layers: tuple[str, ...] = _field(("first", "last"), "layers that are never quantised; () for none")
    loss: str = _field("cross_entropy", "of gecko_jax.losses; some read a teacher")
    teacher: str | None = _field(None, "architecture of a float teacher, trained on the same members")
    cross_fit: int = _field(0, "folds of cross-fitted teachers; 0: the teacher labels what it was trained on")
    models: int = _field(1, "how many to train, each on its own members")
    member_rate: float = _field(0.5, "chance of an example to be a member")
    epochs: int = _field(20, "passes over the members")
    batch_size: int = _field(64, "rows of a batch")
    optimizer: str = _field("adam", "adam, sgd or momentum")
    learning_rate: float = _field(1e-3, "of the optimizer")
    schedule: str = _field("constant", "of the learning rate: constant or cosine")
    transition: tuple[int, ...] | None = _field(None, "start and end epoch of the transition from ReLU to polynomials")
    seed: int = _field(0, "of members, initial values and order")

    def __post_init__(self):
        checks.one_of("architecture", self.architecture, models.MODELS)
        checks.one_of("order", self.order, ORDERS)
        checks.one_of("activation", self.activation, activations.ACTIVATIONS)
        checks.one_of("weights", self.weights, quantizers.QUANTIZERS)
        checks.one_of("inputs", self.inputs, quantizers.QUANTIZERS)
        checks.one_of("loss", self.loss, losses.LOSSES)
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        checks.at_least("models", self.models, 1)
        if losses.LOSSES[self.loss]().teacher != (self.teacher is not None):
            raise ValueError(
                f"loss={self.loss!r} with teacher={self.teacher!r}: symmetric_cross_entropy, kullback_leibler and "
                "hard_labels need a teacher, and cross_entropy takes none."
            )
        if self.teacher is not None:
            checks.one_of("teacher", self.teacher, models.MODELS)
        if self.transition is not None:
            checks.shape("transition", self.transition, (2,))


class Saved(NamedTuple):
    """A saved run: its config, network, m models' variables (leading axis), and who was a member, bool [m, n]."""

    config: Config
    model: Model
    variables: Variables
    member: np.ndarray


def network(config: Config, num_classes: int) -> Model:
    """The network that the config describes."""
    options = _size(config, config.architecture)
    options |= dict(order=config.order, activation=config.activation, normalize=config.normalize)
    model = models.create(config.architecture, num_classes, **options)
    weight, inputs = (None if n == "full" else quantizers.QUANTIZERS[n]() for n in (config.weights, config.inputs))
    return models.quantized(model, [("", weight, inputs)], config.float_layers) if weight or inputs else model


def train(config: Config, data: Dataset) -> Saved:
    """Trains the config's models and saves them in its output folder."""
    model, folder = network(config, data.num_classes), Path(config.output)
    member = datasets.coins(data.train.id, config.models, config.seed, config.member_rate)
    options = dict(epochs=config.epochs, batch_size=config.batch_size, seed=config.seed, schedule=config.schedule)
    options["optimizer"] = training.optimizer(config.optimizer, config.learning_rate)
    extra = {}
    if config.teacher:
        extra = dict(teacher=_teacher(config, data, member, options), loss=losses.LOSSES[config.loss]())
    fitted = training.fit_ensemble(
        model,
        data.train,
        member,
        **options,
        **extra,
        transition=config.transition,
        folder=folder / "checkpoints" / "model",
        label="training",
    )
    _save(folder, config, model, fitted.variables, member, data)
    return Saved(config, model, fitted.variables, member)


def load(folder: str | Path) -> tuple[Saved, Dataset]:
    """A saved run and its data set.

    Raises:
      ValueError: if the folder holds no whole run.
    """
    folder = Path(folder)
    try:
        config = flags.from_dict(Config, json.loads((folder / "model.json").read_text()))
        state = flax.serialization.msgpack_restore((folder / "model.msgpack").read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved model ({error}); scripts/train.py writes one.") from error
    data = datasets.load(config.dataset, config.data_dir)
    member = checks.shape("member", state["member"], (config.models, len(data.train.y)))
    return Saved(config, network(config, data.num_classes), state["variables"], member), data


def _size(config: Config, architecture: str) -> dict:
    sizes = {"mlp": dict(hidden=config.hidden), "lenet": dict(channels=config.channels, hidden=config.hidden[0])}
    return sizes[architecture]


def _teacher(config: Config, data: Dataset, member: np.ndarray, options: dict) -> np.ndarray:
    model = models.create(config.teacher, data.num_classes, **_size(config, config.teacher))
    options = options | dict(folder=Path(config.output) / "checkpoints" / "teacher", label="teacher")
    if config.cross_fit:
        return training.cross_fitted_logits(model, data.train, member, config.cross_fit, **options)
    fitted = training.fit_ensemble(model, data.train, member, **options)
    return training.predict_ensemble(model, fitted.variables, data.train.x)


def _save(folder: Path, config: Config, model: Model, variables: Variables, member: np.ndarray, data: Dataset) -> None:
    """model.msgpack (all models), model.packed (the first one as it would ship), model.json last."""
    state = flax.serialization.msgpack_serialize({"variables": variables, "member": member})
    reports.write_atomic(folder / "model.msgpack", state)
    first = take(variables, 0)
    integer.write(folder / "model.packed", integer.pack(model, first, data.train.x[:1]))
    reports.write_atomic(folder / "model.json", json.dumps(flags.to_dict(config), indent=1))
