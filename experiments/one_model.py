"""One network of any combination: the settings, training and loading that scripts/train.py and scripts/audit.py share.

With `models` above 1 the same recipe is trained several times, each on its own members: every one can then be attacked
with thresholds chosen on the others.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import jax
import numpy as np

from experiments import flags
from gecko_jax import activations, checks, datasets, integer, losses, models, privacy, quantizers, reports, training
from gecko_jax.clippings import CLIPPINGS, layer_budgets
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.normalization import KINDS as NORMS
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.training import OPTIMIZERS, SCHEDULES
from gecko_jax.trees import take
from gecko_jax.types import AdaptiveClipping, Clipping, Dataset, Loss, Model, Variables

# flag -> {rule that takes it: the name of its argument}
RULE_SETTINGS = {
    "threshold": {"global_norm": "threshold", "global_adapt": "threshold"},
    "gamma": {"automatic": "gamma", "psac": "r"},
}
NOT_COVERED = (
    "epsilon covers the student alone: its teacher was trained without privacy on the same members, and what it says "
    "of them can leak through the student. --private_teacher=true makes epsilon cover both."
)


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
    order: str = _field("post", "post: layer, norm, activation; xnor: norm, sign, layer, activation")
    activation: str = _field("relu", "of gecko_jax.activations")
    normalize: bool = _field(False, "normalisation in the order post; the order xnor always has it")
    norm: str = _field("batch", "which: batch, or group or layer, which private training needs")
    weights: str = _field("full", "quantiser of the weights, of gecko_jax.quantizers")
    inputs: str = _field("full", "quantiser of the layers' inputs")
    float_layers: tuple[str, ...] = _field(("first", "last"), "layers that are never quantised; () for none")
    loss: str = _field("cross_entropy", "of gecko_jax.losses; some read a teacher")
    teacher: str | None = _field(None, "architecture of a float teacher, trained on the same members")
    cross_fit: int = _field(0, "folds of cross-fitted teachers; 0: the teacher labels what it was trained on")
    models: int = _field(1, "how many to train, each on its own members")
    member_rate: float = _field(0.5, "chance of an example to be a member")
    epochs: int = _field(20, "passes over the members")
    batch_size: int = _field(64, "rows of a batch; of a private run the expected rows of a Poisson batch")
    optimizer: str = _field("adam", "adam, sgd or momentum; of a private run DP-Adam, DP-SGD, ...")
    learning_rate: float = _field(1e-3, "of the optimizer")
    schedule: str = _field("constant", "of the learning rate: constant or cosine")
    transition: tuple[int, ...] | None = _field(None, "start and end epoch of the transition from ReLU to polynomials")
    seed: int = _field(0, "of members, initial values and order")
    clipping: str | None = _field(None, "private training, by a rule of gecko_jax.clippings: flat, automatic, ...")
    clip_norm: float = _field(1.0, "R; of per_layer in all, shared equally by the layers")
    epsilon: float | None = _field(None, "budget of each model, from which the noise follows")
    noise_multiplier: float | None = _field(None, "noise, from which epsilon follows: give one of the two")
    delta: float | None = _field(None, "below 1/n; none: the largest power of ten up to 1/(2n), n expected members")
    threshold: float | None = _field(None, "Z of global_norm (none: R), or where global_adapt starts (none: 50 R)")
    gamma: float | None = _field(None, "gamma of automatic (none: 0.01), r of psac (none: 0.1)")
    private_teacher: bool = _field(False, "train the teacher privately as well; epsilon then covers both")

    def __post_init__(self):
        checks.one_of("architecture", self.architecture, models.MODELS)
        checks.one_of("order", self.order, ORDERS)
        checks.one_of("norm", self.norm, NORMS)
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
        _check_privacy(self)


def _check_privacy(config: Config) -> None:
    """Whether the flags of private training go together; the library checks the values."""
    flags_of_it = ("epsilon", "noise_multiplier", "delta", *RULE_SETTINGS)
    given = [name for name in flags_of_it if getattr(config, name) is not None]
    if config.clipping is None:
        if given or config.private_teacher:
            names = ", ".join([*given, *["private_teacher"] * config.private_teacher])
            raise ValueError(f"{names} without clipping: nothing would be private. Name a rule: --clipping=flat, say.")
        return
    checks.one_of("clipping", config.clipping, CLIPPINGS)
    checks.positive("clip_norm", config.clip_norm)
    if (config.epsilon is None) == (config.noise_multiplier is None):
        raise ValueError(
            f"epsilon={config.epsilon} and noise_multiplier={config.noise_multiplier}: private training takes one of "
            "the two, the other follows from it."
        )
    for name, takers in RULE_SETTINGS.items():
        if name in given and config.clipping not in takers:
            value = getattr(config, name)
            raise ValueError(f"{name}={value} is no setting of {config.clipping!r}, but of {', '.join(takers)}.")
    if config.private_teacher and (config.teacher is None or config.cross_fit):
        raise ValueError(
            f"private_teacher with teacher={config.teacher!r} and cross_fit={config.cross_fit}: it takes a teacher "
            "that is trained once, on all members (cross_fit=0)."
        )


class Saved(NamedTuple):
    """A saved run.

    Attributes:
      config: its settings.
      model: the network.
      variables: of m models, leading axis.
      member: who was trained on, bool [m, n].
      privacy: epsilon, delta, noise_multiplier, statement (with its assumptions), warning (or None) and what was
        accounted for, of a private run, the same for each model by itself; None of any other.
    """

    config: Config
    model: Model
    variables: Variables
    member: np.ndarray
    privacy: dict[str, Any] | None = None


def network(config: Config, num_classes: int) -> Model:
    """The network that the config describes."""
    options = _size(config, config.architecture)
    normalize = config.norm if config.normalize or config.order == "xnor" else False
    options |= dict(order=config.order, activation=config.activation, normalize=normalize)
    model = models.create(config.architecture, num_classes, **options)
    weight, inputs = (None if n == "full" else quantizers.QUANTIZERS[n]() for n in (config.weights, config.inputs))
    return models.quantized(model, [("", weight, inputs)], config.float_layers) if weight or inputs else model


def train(config: Config, data: Dataset) -> Saved:
    """Trains the config's models and saves them in its output folder."""
    model, folder = network(config, data.num_classes), Path(config.output)
    member = datasets.coins(data.train.id, config.models, config.seed, config.member_rate)
    options = dict(epochs=config.epochs, batch_size=config.batch_size, seed=config.seed, schedule=config.schedule)
    options["optimizer"] = training.optimizer(config.optimizer, config.learning_rate)
    loss = losses.LOSSES[config.loss]()
    private = _private(config, data, model, loss)
    extra = dict(loss=loss)
    if config.teacher:
        extra["teacher"] = _teacher(config, data, member, options, private)
    fitted = training.fit_ensemble(
        private.model if private else model,
        data.train,
        member,
        **options | (private.options if private else {}),
        **extra,
        transition=config.transition,
        folder=folder / "checkpoints" / "model",
        label="training",
    )
    variables = {key: tree for key, tree in fitted.variables.items() if key != THRESHOLD}  # of adaptive clipping
    saved = Saved(config, model, variables, member, _privacy_record(config, private))
    _save(folder, saved, data)
    return saved


def load(folder: str | Path) -> tuple[Saved, Dataset]:
    """A saved run and its data set.

    Raises:
      ValueError: if the folder holds no whole run.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / "model.json").read_text())
        private = settings.pop("privacy", None)
        config = flags.from_dict(Config, settings)
        state = flax.serialization.msgpack_restore((folder / "model.msgpack").read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved model ({error}); scripts/train.py writes one.") from error
    data = datasets.load(config.dataset, config.data_dir)
    member = checks.shape("member", state["member"], (config.models, len(data.train.y)))
    return Saved(config, network(config, data.num_classes), state["variables"], member, private), data


def claim(saved: Saved) -> privacy.Epsilon | None:
    """What attacks are held against; None also where it covers no teacher, for unfair coins, and for runs of old."""
    private = saved.privacy
    whole = private and private["epsilon"] is not None and not private["warning"] and "phases" in private
    if not whole or saved.config.member_rate != 0.5:
        return None
    phases = [privacy.Phase(privacy.Sampling(*sampling), *noise) for sampling, *noise in private["phases"]]
    return privacy.Epsilon(*(private[name] for name in ("epsilon", "delta", "adjacency", "accountant")), tuple(phases))


def _size(config: Config, architecture: str) -> dict:
    sizes = {"mlp": dict(hidden=config.hidden), "lenet": dict(channels=config.channels, hidden=config.hidden[0])}
    return sizes[architecture]


def _private(
    config: Config, data: Dataset, model: Model, loss: Loss, noise_multiplier: float | None = None
) -> privacy.PrivateTraining | None:
    """The config's private run of a model, its `epsilon` that of all private runs together; None where there is none.

    Each model draws its members by coins, so that their number is secret, and accounting is for the expected one.
    """
    if config.clipping is None:
        return None
    n = max(1, round(config.member_rate * len(data.train.y)))
    runs = 2 if config.private_teacher else 1  # teacher and student add up to one run of twice the steps
    together = privacy.private_training(
        model,
        loss,
        _rule(config, model, data),
        n=n,
        batch_size=config.batch_size,
        epochs=runs * config.epochs,
        delta=10.0 ** math.floor(math.log10(0.5 / n)) if config.delta is None else config.delta,
        epsilon_target=config.epsilon if noise_multiplier is None else None,
        noise_multiplier=config.noise_multiplier if noise_multiplier is None else noise_multiplier,
    )
    sampling = together.sampling._replace(steps=together.sampling.steps // runs)
    return together._replace(epochs=config.epochs, sampling=sampling)


def _rule(config: Config, model: Model, data: Dataset) -> Clipping | AdaptiveClipping:
    """The clipping rule; for per_layer the clip norm is shared by the layers."""
    if config.clipping == "per_layer":
        shapes = jax.eval_shape(model.init, jax.random.key(0), data.train.x[:1])
        return CLIPPINGS["per_layer"](layer_budgets(shapes["params"], config.clip_norm))
    settings = {
        takers[config.clipping]: getattr(config, name)
        for name, takers in RULE_SETTINGS.items()
        if config.clipping in takers and getattr(config, name) is not None
    }
    return CLIPPINGS[config.clipping](config.clip_norm, **settings)


def _privacy_record(config: Config, private: privacy.PrivateTraining | None) -> dict[str, Any] | None:
    if private is None:
        return None
    return dict(
        epsilon=private.epsilon.value if math.isfinite(private.epsilon.value) else None,  # JSON has no infinity
        delta=private.epsilon.delta,
        noise_multiplier=private.noise_multiplier,
        statement=str(private.epsilon),
        warning=NOT_COVERED if config.teacher and not config.private_teacher else None,
        adjacency=private.epsilon.adjacency,
        accountant=private.epsilon.accountant,
        phases=[[list(sampling), *noise] for sampling, *noise in private.epsilon.phases],
    )


def _teacher(
    config: Config, data: Dataset, member: np.ndarray, options: dict, private: privacy.PrivateTraining | None
) -> np.ndarray:
    model = models.create(config.teacher, data.num_classes, **_size(config, config.teacher))
    options = options | dict(folder=Path(config.output) / "checkpoints" / "teacher", label="teacher")
    if config.cross_fit:
        return training.cross_fitted_logits(model, data.train, member, config.cross_fit, **options)
    trained = model
    if config.private_teacher:
        its = _private(config, data, model, losses.cross_entropy(), private.noise_multiplier)
        trained, options = its.model, options | its.options
    variables = training.fit_ensemble(trained, data.train, member, **options).variables
    return training.predict_ensemble(trained, variables, data.train.x)


def _save(folder: Path, saved: Saved, data: Dataset) -> None:
    """model.msgpack (all models), model.packed (the first one as it would ship), model.json last."""
    state = flax.serialization.msgpack_serialize({"variables": saved.variables, "member": saved.member})
    reports.write_atomic(folder / "model.msgpack", state)
    first = take(saved.variables, 0)
    integer.write(folder / "model.packed", integer.pack(saved.model, first, data.train.x[:1]))
    settings = flags.to_dict(saved.config) | ({"privacy": saved.privacy} if saved.privacy else {})
    reports.write_atomic(folder / "model.json", json.dumps(settings, indent=1))
