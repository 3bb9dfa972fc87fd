"""One network of any combination: the settings, training and loading that scripts/train.py and scripts/audit.py share.

With `models` above 1 the same recipe is trained several times, each on its own members: every one can then be attacked
with thresholds chosen on the others.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import jax
import numpy as np

from experiments import flags
from experiments.one_model_config import RULE_SETTINGS, Config, settings_in_effect
from gecko_jax import checks, datasets, files, integer, json_values, losses, models, privacy, quantizers, training
from gecko_jax.clippings import CLIPPINGS, layer_budgets
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import AdaptiveClipping, Clipping, Dataset, Loss, Model, Variables

NOT_COVERED = (
    "epsilon covers the student alone: its teacher was trained without privacy on the same members, and what it says "
    "of them can leak through the student. --private_teacher=true makes epsilon cover both."
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
    member = datasets.coins(data.train.id, config.models, config.seed or 0, config.member_rate)
    schedules = {"learning_rate": training.SCHEDULES[config.schedule]}
    options = dict(epochs=config.epochs, batch_size=config.batch_size, seed=config.seed, schedules=schedules)
    options["optimizer"] = training.optimizer(config.optimizer, config.learning_rate)
    loss = losses.CLASS_LOSSES[config.loss]()
    private = _private(config, data, model, loss)
    extra = dict(loss=loss)
    if config.teacher:
        extra["teacher"] = _teacher(config, data, member, options, private)
    if config.transition:
        start, end = (epoch / config.epochs for epoch in config.transition)
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
    saved = Saved(config, model, variables, member, _privacy_record(config, private))
    _save(folder, saved, data)
    return saved


def load(folder: str | Path) -> tuple[Saved, Dataset]:
    """A saved run and its data set.

    Raises:
      ValueError: if the folder holds no whole run, or files of two.
    """
    folder = Path(folder)
    try:
        config, private, state = _read(folder)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved model ({error}); scripts/train.py writes one.") from error
    data = datasets.load(config.dataset, config.data_dir)
    member = checks.shape("member", state["member"], (config.models, len(data.train.y)))
    saved = Saved(config, network(config, data.num_classes), state["variables"], member, private)
    try:
        _check_fits(saved, data)
        claim(saved)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved model ({error}); scripts/train.py writes one.") from error
    return saved, data


def _check_fits(saved: Saved, data: Dataset) -> None:
    """Raises ValueError if the parameters are not those of the network that the settings describe."""
    init = jax.eval_shape(saved.model.init, jax.random.key(0), data.train.x[:1])
    wanted = {name: (saved.config.models, *leaf.shape) for name, leaf in named_leaves(init["params"])}
    found = {name: np.shape(leaf) for name, leaf in named_leaves(saved.variables["params"])}
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"model.json describes {name} {wanted.get(name)}, model.msgpack holds {found.get(name)}: they are of "
                "two runs, or the settings were changed"
            )


def _read(folder: Path) -> tuple[Config, dict[str, Any] | None, dict[str, Any]]:
    """The settings, the privacy record and the state of a saved run, whose files are of one run."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"model.json holds a {type(settings).__name__}; expected settings by name")
    private, digests = settings.pop("privacy", None), settings.pop("files", None)
    expected = {"model.msgpack": None} if digests is None else dict(digests)
    content = files.read_checked(folder / "model.msgpack", expected.pop("model.msgpack", ""))
    files.check_present(folder, expected)
    config = flags.from_dict(Config, settings_in_effect(settings))
    state = flax.serialization.msgpack_restore(content)
    if not isinstance(state, dict) or not {"variables", "member"} <= set(state):
        raise ValueError("model.msgpack lacks variables or member")
    if private is not None and not (isinstance(private, dict) and {"epsilon", "statement", "warning"} <= set(private)):
        raise ValueError(f"privacy={private!r} in model.json lacks epsilon, statement or warning")
    if digests is None:
        message = f"{folder / 'model.json'} is of an older version and names no digests: whether model.msgpack is of "
        warnings.warn(f"{message}the same run is not known. Train again to be sure.", stacklevel=3)
    return config, private, state


def claim(saved: Saved) -> privacy.Epsilon | None:
    """What attacks are held against; None also where it covers no teacher, for unfair coins, and for runs of old."""
    private = saved.privacy
    whole = private and private["epsilon"] is not None and not private["warning"] and "phases" in private
    if not whole or saved.config.member_rate != 0.5:
        return None
    phases = [privacy.Phase(privacy.Sampling(*sampling), *noise) for sampling, *noise in private["phases"]]
    return privacy.Epsilon(*(private[name] for name in ("epsilon", "delta", "adjacency", "accountant")), tuple(phases))


def _size(config: Config, architecture: str) -> dict:
    if architecture == "mlp":
        return dict(hidden=config.hidden)
    return dict(channels=config.channels, hidden=config.hidden[0])


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
    """model.msgpack (all models), model.packed (the first one, as it would ship), and model.json with their digests."""
    first = take(saved.variables, 0)
    contents = {
        "model.msgpack": flax.serialization.msgpack_serialize({"variables": saved.variables, "member": saved.member}),
        "model.packed": integer.encode(integer.pack(saved.model, first, data.train.x[:1])),
    }
    settings = flags.to_dict(saved.config) | ({"privacy": saved.privacy} if saved.privacy else {})
    files.write_together(
        folder, contents, "model.json", lambda digests: json_values.dumps(settings | {"files": digests}, indent=1)
    )
