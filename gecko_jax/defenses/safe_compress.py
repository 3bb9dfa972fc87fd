"""SafeCompress: sparse training that keeps, of two candidates, the one on which a simulated attack does worse."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import checks, keys, metrics, training
from gecko_jax.compression import cosine_drop
from gecko_jax.datasets.batches import as_members
from gecko_jax.defenses.defense import PRIVATE_WAY, Defense, check_reference, refuse_options
from gecko_jax.losses import cross_entropy, metric_of
from gecko_jax.models import dynamic_sparse, without_pruning_state
from gecko_jax.models.removed_weights import GROWTH
from gecko_jax.training.evaluation import check_rows
from gecko_jax.trees import take
from gecko_jax.types import Array, Examples, Loss, Model, Variables

GROWTHS = ("random", "gradient")  # how the two candidates of a round grow
SET_HERE = ("init", "sampling", "trainable", "extra", "observe")
ROWS_PER_CALL = 256


def safe_compress(density: float = 0.05, drop: float = 0.5, rounds: int = 4) -> Defense:
    """Builds training of sparse networks, with a simulated membership attack in the loop.

    The epochs are divided into rounds. In each, two candidates go on from the same network: their weakest weights drop
    once, in the middle of the round, and as many grow, at random (SET) or by gradients (RigL). Of the two, each model
    keeps the one with the larger

      accuracy on reference rows / accuracy of the best threshold on the loss, members against reference rows

    so that twice the epochs are computed. The optimizer starts each round afresh. The networks have zeros in place of
    absent weights; to store them sparse, mark these: prune_once(pruned(model, 0.0, "weight"), variables, x, std=0.0).

    Args:
      density: share of the kernels' weights that are there, of the Erdos-Renyi-Kernel distribution.
      drop: share of a kernel's weights that move in the first round; it falls along a cosine to 0 at the end.
      rounds: at least 1; no more than there are epochs are made.

    Raises:
      ValueError: settings out of range; when it trains, no reference rows, rows of the pool among them, or rows that
        the loss does not read (labels out of range), a loss that does not report an accuracy, options that
        it sets itself, private gradients (the simulated attack reads members), schedules of collections.

    Source: Zhu et al., "Safety and performance, why not both?", ASE 2022 (arXiv 2208.05969). Which candidates are made
    and how they are compared is our reading: the public code does not choose between any.

    >>> safe_compress().reads
    ('reference',)
    """
    checks.in_range("density", checks.positive("density", density), 0, 1)
    checks.in_range("drop", checks.positive("drop", drop), 0, 1)
    rounds = checks.integer("rounds", rounds, 1)

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        rows = check_reference("safe_compress", reference, data)
        refuse_options("safe_compress", options, ("gradients",), PRIVATE_WAY)
        refuse_options("safe_compress", options, SET_HERE, "Leave it out")
        member = as_members(member)
        loss, epochs = options.pop("loss", None), checks.integer("epochs", options.pop("epochs", 10), 1)
        check_rows("reference", model, rows, data, loss)
        if (metric := metric_of(loss or cross_entropy()).name) != "accuracy":
            raise ValueError(f"safe_compress reads accuracies, and the loss reports {metric!r}: train a classifier.")
        seed, folder = keys.checked_seed(options.pop("seed", None) or 0), options.pop("folder", None)
        schedules = _factors(options.pop("schedules", None))
        options["optimizer"] = training.masked_momentum(options.pop("optimizer", None) or training.optimizer())
        bounds = np.linspace(0, epochs, min(rounds, epochs) + 1).round().astype(int)
        current, histories = None, []
        for number, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            share = cosine_drop(drop, 1.0)(number / (len(bounds) - 1))
            parts = {name: _part(function, first / epochs, last / epochs) for name, function in schedules.items()}
            fits = []
            for growth in GROWTHS:
                sparse = _sparse(model, density, growth, _interval(member, options, int(last - first)))
                init = None if current is None else _start(sparse, current, data)
                fits.append(
                    training.fit_ensemble(
                        sparse,
                        data,
                        member,
                        loss=loss,
                        epochs=int(last - first),
                        seed=int(keys.generator(seed, "safe_compress", number).integers(2**32)),
                        folder=None if folder is None else _folder(folder, number, growth),
                        init=init,
                        schedules={**parts, "drop": _constant(share)},
                        **options,
                    )
                )
            scores = [_safety(model, fit.variables, (data, member, rows), loss) for fit in fits]
            second = scores[1] > scores[0]
            current = jax.tree.map(
                lambda a, b, second=second: np.where(second.reshape(-1, *(1,) * (np.ndim(a) - 1)), b, a),
                *({name: tree for name, tree in fit.variables.items() if name != GROWTH} for fit in fits),
            )
            histories.append(
                jax.tree.map(
                    lambda a, b, second=second: np.where(second[None], b, a), *((fit.loss, fit.metrics) for fit in fits)
                )
            )
        joined, history = jax.tree.map(lambda *parts: np.concatenate(parts), *histories)
        return training.Fit(without_pruning_state(current or {}), joined, history)

    return Defense("safe_compress", train, reads=("reference",))


@functools.lru_cache(maxsize=64)
def _sparse(model: Model, density: float, growth: str, interval: int) -> Model:
    """Returns one object for the same settings, because fits with the same object share their compiled programs."""
    return dynamic_sparse(model, density, growth, interval)


def _factors(schedules: Mapping[str, Any] | None) -> dict[str, Callable[[float], float]]:
    others = sorted(set(schedules or {}) - {"learning_rate"})
    if others:
        raise ValueError(
            f"schedules of {others} end in every round of safe_compress, not with the run. Schedule the learning rate "
            "alone, and take a network that needs no other."
        )
    return dict(schedules or {})


def _part(function: Callable[[float], float], first: float, last: float) -> Callable[[float], float]:
    """Returns the part of a schedule between two shares of the run as a schedule of one round."""
    return lambda share: function(first + share * (last - first))


def _constant(value: float) -> Callable[[float], float]:
    return lambda share: value


def _interval(member: np.ndarray, options: Mapping[str, Any], epochs: int) -> int:
    """Returns the number of updates after which a round's one move comes: just over half of them."""
    steps = epochs * -(-int(member.sum(1).max()) // options.get("batch_size", 64))
    return steps // 2 + 1


def _folder(folder: str | os.PathLike[str], number: int, growth: str) -> Path:
    return Path(folder) / f"round{number}_{growth}"


def _start(sparse: Model, current: Variables, data: Examples) -> dict[str, Any]:
    """Returns variables [m, ...] of a candidate: those of the network that it goes on from, its clock at 0."""
    shapes = jax.eval_shape(sparse.init, jax.random.key(0), take(data.x, slice(0, 1)))
    models = len(jax.tree.leaves(current)[0])
    extra = {name: tree for name, tree in shapes.items() if name == GROWTH}
    start = {**current, **jax.tree.map(lambda leaf: np.zeros((models, *leaf.shape), leaf.dtype), extra)}
    state = dict(current["sparse_training"])
    state |= {"step": np.zeros_like(state["step"]), "key": np.asarray(state["key"]) + np.uint32(1)}
    return {**start, "sparse_training": state}


def _safety(
    model: Model, variables: Variables, rows: tuple[Examples, np.ndarray, Examples], loss: Loss | None
) -> np.ndarray:
    """Returns accuracy / attack accuracy of m models [m]; only its own members of the pool are read for each."""
    data, member, reference = rows
    plain, scores = without_pruning_state(variables), []
    size = int(min(ROWS_PER_CALL, member.sum(1).min(), len(reference.id)))
    for number, mine in enumerate(member):
        one, trained = take(plain, number), take(data, np.flatnonzero(mine))
        inside, outside = (training.evaluate(model, one, part, loss, batch_size=size) for part in (trained, reference))
        losses = np.concatenate([inside.losses, outside.losses])
        fpr, tpr, _ = metrics.roc_curve(-losses, np.arange(len(losses)) < len(inside.losses))
        scores.append(outside.metrics["accuracy"] / (0.5 + 0.5 * float(np.max(tpr - fpr))))
    return np.array(scores)
