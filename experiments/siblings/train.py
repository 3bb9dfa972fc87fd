"""Trains the network and everything that is released beside it or in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.siblings.config import Config
from gecko_jax import datasets, defenses, models, quantizers, training
from gecko_jax.datasets import membership
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Examples, Model, Rule, Variables


class Data(NamedTuple):
    """The records.

    Attributes:
      pool: with the test set, what members are drawn from.
      public: rows that are neither members nor evaluated.
      member: bool [m, n].
    """

    pool: Dataset
    public: Examples
    member: np.ndarray


class Trained(NamedTuple):
    """A row's models: the network, its variables [m, ...], and logits on the pool [m, n, c] and on the test set."""

    model: Model
    variables: Variables
    pool: np.ndarray
    test: np.ndarray


def load(config: Config) -> Data:
    """Returns the records, divided at random."""
    source = datasets.load(config.dataset, config.data_dir)
    rows = [
        np.concatenate([np.asarray(getattr(part, name)) for part in (source.train, source.test)]) for name in ("x", "y")
    ]
    x = rows[0].reshape(len(rows[0]), -1)
    order = np.random.default_rng(config.seed).permutation(len(x))
    ends = np.cumsum([config.pool_rows, config.public_rows])
    if ends[-1] >= len(x):
        raise ValueError(
            f"pool_rows={config.pool_rows} and public_rows={config.public_rows} leave no test rows of {len(x):,}."
        )
    pool, public, test = (Examples(x[part], rows[1][part], part.astype(np.int64)) for part in np.split(order, ends))
    member = membership.coins(np.asarray(pool.id), config.models, config.seed)
    return Data(Dataset(config.dataset, pool, test, source.num_classes), public, member)


class Trainer:
    """Trains rows with the same options, each in a folder of its own."""

    def __init__(self, config: Config, data: Data):
        self.config, self.data = config, data
        self.options: dict[str, Any] = dict(
            epochs=config.epochs,
            batch_size=config.batch_size,
            optimizer=training.optimizer("adam", config.learning_rate),
            seed=config.seed,
        )

    def network(self, hidden: tuple[int, ...]) -> Model:
        """Returns an MLP of these widths."""
        return models.create("mlp", self.data.pool.num_classes or 1, hidden=hidden)

    def defended(self, name: str, **settings: Any) -> Trained:
        """Trains the network with a defense."""
        model, defense = self.network(self.config.hidden), defenses.DEFENSES[name](**settings)
        fitted = defense.train(
            model, self.data.pool.train, self.data.member, reference=self.data.public, **self._options(name)
        )
        return self.read(model, fitted.variables)

    def quantized(self, bits: int | None) -> Trained:
        """Trains the network with quantized weights; ternary ones without bits."""
        model = models.quantized(self.network(self.config.hidden), rules(bits), float_layers=())
        fitted = training.fit_ensemble(
            model, self.data.pool.train, self.data.member, **self._options(f"quantized_{bits}")
        )
        return self.read(model, fitted.variables)

    def rounded(self, float_row: Trained, bits: int | None) -> Trained:
        """Rounds a trained network's weights to the nearest value of their filter's grid."""
        model = models.quantized(self.network(self.config.hidden), rules(bits), float_layers=())
        return self.read(model, float_row.variables)

    def distilled(self, name: str, hidden: tuple[int, ...], teacher: Trained, **settings: Any) -> Trained:
        """Trains students of each model of a row."""
        model, kind = self.network(hidden), training.DISTILLATIONS[name](**settings)
        taught = training.Teacher(teacher.model, teacher.variables, per_model=True)
        options = self._options(f"{name}_{'x'.join(map(str, hidden))}")
        fitted = kind.train(model, self.data.pool.train, self.data.member, taught, **options)
        return self.read(model, fitted.variables)

    def assisted(self, teacher: Trained) -> Trained:
        """Trains the siblings through an assistant of a width between theirs and the network's."""
        config = self.config
        between = tuple(round((a * b) ** 0.5) for a, b in zip(config.hidden, config.small, strict=True))
        return self.distilled("assistants", config.small, teacher, models=[self.network(between)])

    def unpaired(self, small: Trained, large: Trained) -> Trained:
        """Fine-tunes the siblings of each model of a row so that they are weak elsewhere."""
        sibling = training.Teacher(large.model, large.variables, per_model=True)
        fitted = training.unpair(
            small.model, self.data.pool.train, self.data.member, sibling,
            weight=self.config.weight, init=small.variables, **self._options("unpaired"),
        )  # fmt: skip
        return self.read(small.model, fitted.variables)

    def trained_on(self, small: Trained) -> Trained:
        """Trains the siblings as long as `unpaired` does, without its term: what that term does by itself."""
        fitted = training.fit_ensemble(
            small.model, self.data.pool.train, self.data.member, init=small.variables, **self._options("trained_on")
        )
        return self.read(small.model, fitted.variables)

    def read(self, model: Model, variables: Variables) -> Trained:
        """Returns the row with its logits."""
        pool, test = (training.predict_ensemble(model, variables, part.x) for part in self.data.pool[1:3])
        return Trained(model, variables, pool, test)

    def _options(self, name: str) -> dict[str, Any]:
        folder = Path(self.config.output) / "checkpoints" / name
        return {**self.options, "folder": folder, "label": name.replace("_", " ")}


def rules(bits: int | None) -> tuple[Rule, ...]:
    """Returns the rule of all weights: a symmetric grid for each filter, or ternary without bits (1.58 of them)."""
    weight = quantizers.ternary() if bits is None else quantizers.uniform(bits)
    return (Rule(path="", weight=weight),)


def each(row: Trained) -> list[Variables]:
    """Returns the variables of each model of a row."""
    return [take(row.variables, i) for i in range(len(jax.tree.leaves(row.variables)[0]))]
