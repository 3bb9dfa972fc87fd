"""One network of any combination: the settings, training and loading that scripts/train.py and scripts/audit.py share.

With `models` above 1 the same recipe is trained several times, each on its own members: every one can then be attacked
with thresholds chosen on the others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import flags
from experiments.one_model_config import GIVEN_RANGE, NORMALIZED, RULE_SETTINGS, SCALED, Config
from gecko_jax import checks, datasets, integer, losses, models, privacy, quantizers, training
from gecko_jax.clippings import CLIPPINGS, layer_budgets
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.trees import take
from gecko_jax.types import AdaptiveClipping, Clipping, Dataset, Loss, Model, Rule, Variables

NOT_COVERED = (
    "epsilon covers the student alone: its teacher was trained without privacy on the same members, and what it says "
    "of them can leak through the student. --private_teacher=true makes epsilon cover both."
)


class Guarantee(NamedTuple):
    """What private training promises of each model by itself.

    Attributes:
      epsilon: with its assumptions.
      noise_multiplier: of the gradient sums.
      warning: what epsilon does not cover, or None.
    """

    epsilon: privacy.Epsilon
    noise_multiplier: float
    warning: str | None


class Saved(NamedTuple):
    """A saved run.

    Attributes:
      config: its settings.
      model: the network.
      variables: of m models, leading axis.
      member: who was trained on, bool [m, n].
      privacy: of a private run; None of any other.
    """

    config: Config
    model: Model
    variables: Variables
    member: np.ndarray
    privacy: Guarantee | None = None


def network(config: Config, num_classes: int) -> Model:
    """The network that the config describes."""
    options = _size(config, config.architecture)
    normalized = config.normalize or config.order == "xnor" or config.architecture in NORMALIZED
    normalize = config.norm if normalized else False
    options |= dict(order=config.order, activation=config.activation, normalize=normalize)
    model = models.create(config.architecture, num_classes, **options)
    weight, inputs = (None if n == "identity" else quantizers.QUANTIZERS[n]() for n in (config.weights, config.inputs))
    if inputs is not None and config.inputs in GIVEN_RANGE:
        inputs = quantizers.uniform(inputs.bits, max_abs=config.input_range)
    rule = Rule(path="", weight=weight, input=inputs)
    return models.quantized(model, [rule], config.float_layers) if weight or inputs else model


def train(config: Config, data: Dataset) -> Saved:
    """Trains the config's models and saves them in its output folder."""
    model, folder = network(config, data.num_classes), Path(config.output)
    member = datasets.coins(data.train.id, config.models, config.seed or 0, config.member_rate)
    schedules = {"learning_rate": training.SCHEDULES[config.schedule]}
    options = dict(epochs=config.epochs, batch_size=config.batch_size, seed=config.seed, schedules=schedules)
    options["optimizer"] = training.optimizer(config.optimizer, config.learning_rate)
    loss = losses.CLASS_LOSSES[config.loss]()
    private = _private(config, data, model, loss)
    extra = dict(loss=loss)
    if config.teacher:
        teacher = _teacher(config, data, member, options, private)
        extra |= dict(extra={"teacher": teacher}, extra_per_model=True)
    if config.transition:
        start, end = (epoch / config.epochs for epoch in config.transition)
        if config.activation == "mixed_relu":
            extra["schedules"] = schedules | {"mixture": training.linear(start, end, 1.0, 0.0)}
        else:
            extra["schedules"] = schedules | {"transition": training.linear(start, end)}
    fitted = training.fit_ensemble(
        private.model if private else model,
        data.train,
        member,
        **options | (private.options if private else {}) | extra,
        folder=folder / "checkpoints" / "model",
        label="training",
    )
    variables = {key: tree for key, tree in fitted.variables.items() if key != THRESHOLD}  # of adaptive clipping
    guarantee = None
    if private:
        uncovered = NOT_COVERED if config.teacher and not config.private_teacher else None
        guarantee = Guarantee(private.epsilon, private.noise_multiplier, uncovered)
    saved = Saved(config, model, variables, member, guarantee)
    save(folder, saved, data)
    return saved


def save(folder: str | Path, saved: Saved, data: Dataset) -> None:
    """Writes all models, and as model.packed the first one, as it would ship."""
    first, x = take(saved.variables, 0), data.train.x[:1]
    settings = {"config": flags.to_dict(saved.config), "privacy": None}
    if saved.privacy:
        settings["privacy"] = saved.privacy._asdict() | {"epsilon": saved.privacy.epsilon.to_json()}
    packed = integer.encode(integer.pack(saved.model, first, x))
    models.save(
        folder, saved.model, saved.variables, x,
        settings=settings, arrays={"member": saved.member}, extra_files={"model.packed": packed},
    )  # fmt: skip


def load(folder: str | Path) -> tuple[Saved, Dataset]:
    """Reads a saved run and its data set.

    Raises:
      ValueError: a folder without a complete run, or with files of two.
    """
    stored = models.load(folder)
    try:
        config = flags.from_dict(Config, stored.settings["config"])
        guarantee = _guarantee(stored.settings["privacy"])
        data = datasets.load(config.dataset, config.data_dir)
        member = checks.shape("member", stored.arrays["member"], (config.models, len(data.train.y)))
        if network(config, data.num_classes).blueprint != stored.model.blueprint:
            raise ValueError("its flags describe another network than the one that it holds: model.json was changed")
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved run ({error}); scripts/train.py writes one.") from error
    return Saved(config, stored.model, stored.variables, member, guarantee), data


def _guarantee(fields: Any) -> Guarantee | None:
    if fields is None:
        return None
    return Guarantee(**{**fields, "epsilon": privacy.Epsilon.from_json(fields["epsilon"])})


def claim(saved: Saved) -> privacy.Epsilon | None:
    """Returns what attacks are held against; None if it is infinite, leaves a teacher out, or coins were not fair."""
    private = saved.privacy
    if private is None or private.warning or not math.isfinite(private.epsilon.value):
        return None
    return private.epsilon if saved.config.member_rate == 0.5 else None


def _size(config: Config, architecture: str) -> dict:
    if architecture == "mlp":
        return dict(hidden=config.hidden)
    if architecture in SCALED:
        return dict(width=config.width)
    return dict(channels=config.channels, hidden=config.hidden if architecture == "alexnet" else config.hidden[0])


def _private(
    config: Config, data: Dataset, model: Model, loss: Loss, noise_multiplier: float | None = None
) -> privacy.PrivateTraining | None:
    """The config's private run of a model, its `epsilon` that of all private runs together; None where there is none.

    Each model draws its members by coins, so that their number is secret, and accounting is for the expected one.
    """
    if config.clipping is None:
        return None
    n = max(1, round(config.member_rate * len(data.train.y)))
    return privacy.private_training(
        model,
        loss,
        _rule(config, model, data),
        n=n,
        batch_size=config.batch_size,
        epochs=config.epochs,
        delta=10.0 ** math.floor(math.log10(0.5 / n)) if config.delta is None else config.delta,
        target_epsilon=config.epsilon if noise_multiplier is None else None,
        noise_multiplier=config.noise_multiplier if noise_multiplier is None else noise_multiplier,
        runs=2 if config.private_teacher else 1,  # its teacher and the student
    )


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


def _teacher(
    config: Config, data: Dataset, member: np.ndarray, options: dict, private: privacy.PrivateTraining | None
) -> np.ndarray:
    norm = dict(normalize=config.norm) if config.teacher in NORMALIZED else {}
    model = models.create(config.teacher, data.num_classes, **_size(config, config.teacher), **norm)
    options = options | dict(folder=Path(config.output) / "checkpoints" / "teacher", label="teacher")
    if config.cross_fit:
        return training.cross_fitted_logits(model, data.train, member, config.cross_fit, **options)
    trained = model
    if config.private_teacher:
        its = _private(config, data, model, losses.cross_entropy(), private.noise_multiplier)
        trained, options = its.model, options | its.options
    variables = training.fit_ensemble(trained, data.train, member, **options).variables
    return training.predict_ensemble(trained, variables, data.train.x)
