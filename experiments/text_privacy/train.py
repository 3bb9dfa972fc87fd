"""Trains the base on public notes, and each row's models on the private ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.text_privacy.config import Config
from experiments.text_privacy.data import Notes
from experiments.text_privacy.methods import Method
from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.types import Examples, Model, Variables

LOSS = losses.sequence_cross_entropy(padding=-1)


class Trained(NamedTuple):
    """The models of a row.

    Attributes:
      variables: with a leading axis [m].
      epsilon: of the guarantee for one of them; None without one.
      guarantee: the guarantee in words; "" without one.
      mechanism: what noises the words that go in; None if nothing does.
    """

    variables: Variables
    epsilon: float | None = None
    guarantee: str = ""
    mechanism: privacy.WordNoise | None = None


def network(config: Config, notes: Notes) -> Model:
    """Returns the transformer of all rows."""
    sizes = dict(layers=2, width=config.width, heads=4, max_length=config.length)
    return models.create("transformer", notes.tokenizer.vocabulary, **sizes)


def base_of(config: Config, notes: Notes) -> tuple[Model, Variables]:
    """Trains the base, whose variables every row starts from."""
    model = network(config, notes)
    fitted = training.fit(
        model,
        notes.public.causal(),
        loss=LOSS,
        epochs=config.base_epochs,
        batch_size=config.batch_size,
        optimizer=training.optimizer("adam", 3e-3),
        schedules={"learning_rate": training.cosine},
        seed=config.seed,
        folder=Path(config.output) / "checkpoints" / "base",
    )
    return model, fitted.variables


def train(config: Config, method: Method, notes: Notes, model: Model, base: Variables) -> Trained:
    """Trains the models of a row; a run that was killed goes on from its folder."""
    init = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], config.models, axis=0), base)
    folder = Path(config.output) / "checkpoints" / method.label.replace(" ", "_").replace(",", "")
    rows = notes.private[method.policy]
    plain = dict(
        epochs=config.epochs,
        batch_size=config.batch_size,
        optimizer=training.optimizer("adam", config.learning_rate),
        seed=config.seed,
    )
    if method.first and method.private:
        twice = training.fit_twice(
            model,
            rows,
            _private(config, model, len(rows.tokens), "replace_one"),
            init=init,
            first={**plain, "folder": folder / "first"},
            second={**_adam(config), "folder": folder / "second"},
            models=config.models,
        )
        return Trained(twice.second.variables, float(twice.guarantee), str(twice.guarantee))
    if method.private:
        run = _private(config, model, len(rows.tokens), "add_or_remove")
        fitted = _ensemble(config, run.model, rows.second(), init, folder, {**_adam(config), **run.options})
        return Trained(fitted.variables, float(run.epsilon), str(run.epsilon))
    if not (method.first or method.plain):
        return Trained(init)
    data, mechanism = rows.first() if method.first else rows.second(), None
    if method.word_epsilon is not None:
        mechanism = noise_of(method.word_epsilon, base)
        data = noised(mechanism, rows.tokens, config.seed)
    fitted = _ensemble(config, model, data, init, folder, {"loss": LOSS, **plain})
    return Trained(fitted.variables, guarantee="" if mechanism is None else str(mechanism), mechanism=mechanism)


def noise_of(worst_epsilon: float, base: Variables) -> privacy.WordNoise:
    """Builds the mechanism on the base's table that has this epsilon for a token, whatever the two words."""
    table = np.asarray(base["params"]["embed"]["embedding"])
    candidates = np.arange(3, len(table))  # all but padding, mask and the end
    diameter = privacy.word_noise(table, 1.0, candidates=candidates).diameter
    return privacy.word_noise(table, worst_epsilon / diameter, candidates=candidates)


def noised(mechanism: privacy.WordNoise, tokens: np.ndarray, seed: int) -> Examples:
    """Returns causal examples of noised rows."""
    words = mechanism.apply(tokens, seed)
    return Examples(words[:, :-1], np.where(words[:, 1:] == 0, -1, words[:, 1:]))


def _private(config: Config, model: Model, n: int, adjacency: str) -> privacy.PrivateTraining:
    return privacy.private_training(
        model,
        LOSS,
        clippings.automatic(1.0),
        n=n,
        batch_size=n // 10,
        epochs=config.private_epochs,
        delta=1 / (10 * n),
        target_epsilon=config.target_epsilon,
        adjacency=adjacency,
    )


def _adam(config: Config) -> dict[str, Any]:
    return dict(optimizer=training.optimizer("adam", config.private_learning_rate), seed=config.seed)


def _ensemble(
    config: Config, model: Model, data: Examples, init: Variables, folder: Path, options: dict[str, Any]
) -> training.Fit:
    everybody = np.ones((config.models, len(data.y)), bool)
    return training.fit_ensemble(model, data, everybody, init=init, folder=folder, **options)
