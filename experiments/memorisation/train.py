"""Fine-tunes one model: validation perplexity every quarter epoch, and the variables at fixed points.

The points are fixed beforehand, so that "at equal perplexity" has one meaning: `crossing`, the first evaluation at
which the validation perplexity is at most a fixed one, on the way down; `upper`, the same for a higher one; and `best`,
the lowest validation perplexity.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.memorisation.bases import Base
from experiments.memorisation.config import QUARTERS, Config
from experiments.memorisation.data import Trial
from experiments.memorisation.methods import Method
from experiments.memorisation.reading import LOSS, perplexity
from gecko_jax import clippings, keys, privacy, training
from gecko_jax.models import fine_tuning
from gecko_jax.trees import named_leaves, take, trainable_leaves
from gecko_jax.types import Model, Variables

UNIT_RATE = 1e-3  # of the optimizer; a schedule scales it, so that all rates share a compiled program


class Prepared(NamedTuple):
    """A row, ready to be trained.

    Attributes:
      model: the tuned model.
      trainable: expressions of what is trained; None: all.
      base: what it starts from.
      starts: variables of the models, and of one more that the learning rate is chosen with: those of the base, and for
        what the method adds fresh ones of each.
      fixed: the perplexity of which the crossings are shares, the same for all rows.
      private: the private run's parts, or None.
    """

    model: Model
    trainable: tuple[str, ...] | None
    base: Base
    starts: Variables
    fixed: float
    private: privacy.PrivateTraining | None


class Point(NamedTuple):
    """A model at one evaluation.

    Attributes:
      quarter: of an epoch, counted from 1.
      perplexity: on the validation rows.
      variables: of the model.
    """

    quarter: int
    perplexity: float
    variables: Variables


class Course(NamedTuple):
    """How a run went.

    Attributes:
      perplexities: on the validation rows after each quarter of an epoch; the first is that of the start.
      upper, crossing: the first point at which the perplexity is at most the fixed one; None if it never is.
      best: the point of the lowest perplexity; None if the run was not finite before its first evaluation.
    """

    perplexities: list[float]
    upper: Point | None
    crossing: Point | None
    best: Point | None


class _Enough(Exception):
    """Ends a run that has not improved for long enough."""


def prepare(config: Config, method: Method, base: Base, fixed: float, x: np.ndarray) -> Prepared:
    """Returns the tuned model of a row, what it trains, and its private gradients.

    Args:
      config: the settings.
      method: the row.
      base: the pre-trained model that it names.
      fixed: the validation perplexity of the float base, of which the crossings of all rows are shares.
      x: token rows [n, t], of which only shape and type matter.
    """
    model, trainable = tuned(config, method, base.model, base.tied)
    private = None
    if method.epsilon is not None:
        private = privacy.private_training(
            model,
            LOSS,
            clippings.automatic(1.0),
            n=config.rows,
            batch_size=config.private_batch,
            epochs=config.private_epochs,
            delta=config.delta,
            target_epsilon=method.epsilon,
            trainable=trainable,
        )
        model = private.model
    key = keys.stream(config.seed, "memorization", "start")
    starts = fine_tuning.start(model, base.variables, key, x[:1], models=config.models + 1)
    return Prepared(model, trainable, base, starts, fixed, private)


def tuned(config: Config, method: Method, model: Model, is_tied: bool) -> tuple[Model, tuple[str, ...] | None]:
    """Returns the tuned model of a row and the paths that it trains.

    Args:
      config: the settings.
      method: the row.
      model: its base.
      is_tied: whether the base's head and embedding are one table.
    """
    tied = {"tied": True} if is_tied and method.tuning in ("head", "embedding") else {}
    tuning = fine_tuning.FINE_TUNINGS[method.tuning](**method.options, **tied)
    if method.trainable is None:
        return tuning.apply(model), tuning.trainable
    return tuning.apply(model), tuple(each.format(last=config.layers - 1) for each in method.trainable)


def trained_parameters(prepared: Prepared) -> int:
    """Returns how many numbers a model of the row trains."""
    params = prepared.starts["params"]
    keep = trainable_leaves(params, prepared.trainable)
    return sum(np.size(leaf[0]) for (_, leaf), trained in zip(named_leaves(params), keep, strict=True) if trained)


def follow(config: Config, prepared: Prepared, trial: Trial, rate: float, epochs: int) -> Course:
    """Fine-tunes a model until it has not improved for `config.patience` quarters, or for `epochs`.

    Args:
      config: the settings.
      prepared: the row.
      trial: the rows of one seed.
      rate: of Adam, constant.
      epochs: maximum number of passes. A private run always takes `config.private_epochs`, because its noise is
        calibrated for them.
    """
    high, target = (share * prepared.fixed for share in (config.upper, config.crossing))
    begin = take(prepared.starts, trial.seed)
    perplexities = [perplexity(prepared.model, begin, trial.validation)]
    upper: Point | None = None
    crossing: Point | None = None
    best: Point | None = None

    def observe(quarter: int, variables: Variables) -> None:
        nonlocal upper, crossing, best
        perplexities.append(perplexity(prepared.model, variables, trial.validation))
        point = Point(quarter, perplexities[-1], variables)
        upper = point if upper is None and point.perplexity <= high else upper
        crossing = point if crossing is None and point.perplexity <= target else crossing
        best = point if best is None or point.perplexity < best.perplexity else best
        if prepared.private is None and quarter - best.quarter >= config.patience:
            raise _Enough

    if prepared.private is None:
        sampling = privacy.shuffled(config.rows, config.batch_size, epochs)
        options: dict[str, Any] = {"loss": LOSS, "sampling": sampling, "trainable": prepared.trainable}
    else:
        options, epochs = prepared.private.options, config.private_epochs
    options["epochs"] = QUARTERS * epochs
    with contextlib.suppress(_Enough, training.NotFinite):  # what was observed before stands
        training.fit(
            prepared.model,
            trial.train,
            init=begin,
            seed=config.seed,
            model_id=trial.seed,
            optimizer=training.optimizer("adam", UNIT_RATE),
            schedules={"learning_rate": _constant(rate / UNIT_RATE)},
            observe=observe,
            **options,
        )
    return Course(perplexities, upper, crossing, best)


def _constant(value: float) -> Callable[[float], float]:
    return lambda share: value


def tune(config: Config, prepared: Prepared, trial: Trial, middle: float) -> tuple[float, dict[str, float]]:
    """Chooses the learning rate: the lowest validation perplexity of a run of `config.tuning_epochs`.

    The rates are a third of the middle, the middle, and three times it. While the best of them is the first or the
    last, one more is tried beyond it, twice at most.

    Args:
      config: the settings.
      prepared: the row.
      trial: of a seed that no model of the table has.
      middle: of the grid.

    Returns:
      The rate, and {rate: its lowest perplexity} of all that were tried; one whose run was not finite has infinity.
    """
    tried: dict[float, float] = {}

    def attempt(power: int) -> None:
        course = follow(config, prepared, trial, middle * 3.0**power, config.tuning_epochs)
        tried[power] = course.best.perplexity if course.best else math.inf

    for power in (-1, 0, 1):
        attempt(power)
    for _ in range(2):
        best = min(tried, key=lambda power: tried[power])
        if best not in (min(tried), max(tried)):
            break
        attempt(int(best) + (1 if best == max(tried) else -1))
    best = min(tried, key=lambda power: tried[power])
    return middle * 3.0**best, {f"{middle * 3.0**power:.3g}": tried[power] for power in sorted(tried)}
