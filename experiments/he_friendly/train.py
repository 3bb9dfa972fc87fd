"""Trains the rows of a table in order, the teacher first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.he_friendly import imitation
from experiments.he_friendly.config import Config
from experiments.he_friendly.deep import Deep
from experiments.he_friendly.methods import METHODS, TEACHER, Method
from gecko_jax import activations, losses, models, training
from gecko_jax.types import Dataset, Loss, Model, Variables

COEFFICIENTS = r"(Quadratic|HerPN)_\d+/"
TRANSITIONS = {"at_once": training.linear, "last_first": training.last_layer_first}
PENALTY_POWERS = (0.1, 4, 10)  # the share of the run at which PILLAR's power stops to rise, and its two ends


class Trained(NamedTuple):
    """A row's models.

    Attributes:
      method: its name.
      model: the network.
      variables: of m models, leading axis; None if training failed.
      history: mean training loss of each epoch, [epochs, m].
      failure: why training failed, or "".
    """

    method: str
    model: Model
    variables: Variables | None
    history: np.ndarray
    failure: str = ""


class Table(NamedTuple):
    """What the rows of a table have in common.

    Attributes:
      name: of its folder of checkpoints.
      network: method -> the network.
      epochs: passes over the members.
      member: bool [m, n], who is trained on what.
    """

    name: str
    network: Callable[[Method], Model]
    epochs: int
    member: np.ndarray


def network_of(config: Config, data: Dataset) -> Callable[[Method], Model]:
    """Returns method -> the config's network, made of the method's ingredients."""

    def build(method: Method) -> Model:
        options: dict[str, Any] = dict(activation=method.activation, normalize=method.norm == "batch")
        if config.network != "mlp":
            options["pooling"] = method.pooling
        model = models.create(config.network, data.num_classes, **config.options(), **options)
        return _with_rates(config, method, model)

    return build


def deep_network_of(config: Config, data: Dataset, depth: int) -> Callable[[Method], Model]:
    """Returns method -> a deep network of dense layers, made of the method's ingredients."""

    def build(method: Method) -> Model:
        network = Deep(data.num_classes, depth, config.width, method.activation, method.norm)
        return _with_rates(config, method, models.from_linen(network))

    return build


def _with_rates(config: Config, method: Method, model: Model) -> Model:
    trains = method.activation.startswith("quadratic") and config.activation_rate != 1
    return models.with_rates(model, {COEFFICIENTS: config.activation_rate}) if trains else model


def train_rows(config: Config, table: Table, methods: tuple[str, ...], data: Dataset) -> dict[str, Trained]:
    """Trains the methods, the teacher first: {name: its models}, in the order of METHODS.

    Args:
      config: the settings.
      table: what the rows share.
      methods: names, the teacher's among them.
      data: the data set.
    """
    done: dict[str, Trained] = {}
    for name in sorted(methods, key=list(METHODS).index):
        done[name] = _train(config, table, name, data, done.get(TEACHER))
    return done


def _train(config: Config, table: Table, name: str, data: Dataset, teacher: Trained | None) -> Trained:
    method, folder = METHODS[name], Path(config.output) / "checkpoints" / table.name / name
    model = table.network(method)
    schedules: dict[str, training.schedules.Schedule] = {"learning_rate": training.cosine}
    if method.transition:
        schedules["transition"] = TRANSITIONS[method.transition](*config.transition)
    trained = model
    if method.penalized:
        trained = models.with_range_penalty(model, activations.pillar())
        schedules["penalty_power"] = training.linear(0, *PENALTY_POWERS)
    options: dict[str, Any] = dict(
        epochs=table.epochs,
        batch_size=config.batch_size,
        optimizer=training.optimizer("adam", config.learning_rate),
        seed=config.seed,
        schedules=schedules,
        loss=_loss(config, method, data),
    )
    if method.distilled:
        logits = training.predict_ensemble(teacher.model, teacher.variables, data.train.x)
        options |= dict(extra={"teacher": logits}, extra_per_model=True)
    try:
        if method.imitates:
            fitted = _imitate(model, table, options, folder, data, teacher)
        else:
            label = f"{table.name}: {method.label}"
            fitted = training.fit_ensemble(trained, data.train, table.member, **options, folder=folder, label=label)
    except training.NotFinite as error:
        return Trained(name, model, None, np.zeros((0, len(table.member))), str(error))
    return Trained(name, model, models.without_penalty_state(fitted.variables), fitted.loss)


def _imitate(model: Model, table: Table, options: dict, folder: Path, data: Dataset, teacher: Trained) -> training.Fit:
    """Trains by quadratic imitation learning: as many epochs of imitation as of fine-tuning."""
    outputs = training.predict_ensemble(imitation.hidden(teacher.model), teacher.variables, data.train.x)
    layers = len(outputs)
    first = options | dict(
        loss=imitation.imitation_loss(),
        extra={"hidden": outputs},
        extra_per_model=True,
        schedules={imitation.STAGE: imitation.upwards(layers)},
    )
    start = training.fit_ensemble(
        imitation.imitating(model),
        data.train,
        table.member,
        **first,
        folder=folder / "imitation",
        label="QuaIL, imitation",
    )
    second = options | dict(schedules={**options["schedules"], imitation.STAGE: imitation.downwards(layers)})
    fitted = training.fit_ensemble(
        imitation.fine_tuning(model), data.train, table.member, init=start.variables, **second,
        folder=folder / "fine_tuning", label="QuaIL, fine-tuning",
    )  # fmt: skip
    variables = {name: tree for name, tree in fitted.variables.items() if name != imitation.STAGE}
    return fitted._replace(variables=variables)


def _loss(config: Config, method: Method, data: Dataset) -> Loss:
    weights = None
    if method.weighted and config.class_weights == "balanced":
        weights = losses.balanced_class_weights(data.train.y, data.num_classes)
    if method.distilled:
        return losses.kullback_leibler(config.temperature, config.alpha, label_weight=1.0, class_weights=weights)
    return losses.cross_entropy(weights)


def everybody(config: Config, data: Dataset) -> np.ndarray:
    """Returns the membership of models that all train on the whole training file, bool [m, n]."""
    return np.ones((config.models, len(data.train.y)), bool)
