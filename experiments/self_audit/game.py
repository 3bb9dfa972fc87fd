"""The game: canaries by fair coins into a private run of the library's own, and an auditor who sees every step of it.

Each canary owns a row of a table, and its loss is that row times a large number: its gradient points along an axis
that no other example touches, and is clipped to the full clip norm. So what a step's private gradient shows along that
axis is the canary's share plus its own noise, and nothing else: what Nasr et al. (2021, 2023) call a gradient canary,
with as many independent games in one run as the table has rows (Steinke et al. 2023).

All goes through `training.fit` and `privacy.private_training`, as a user would. Nothing here knows how noise is drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

from gecko_jax import metrics, models, privacy, training
from gecko_jax.types import Examples, Loss

LOUD = 100.0  # norm of a canary's gradient before clipping
SEEN: list[np.ndarray] = []  # the gradients of the run that goes on, step by step


class Table(nn.Module):
    """Row `index` of each of some tables [rows, 1], times LOUD; outputs [b, tables]."""

    rows: int
    tables: int

    @nn.compact
    def __call__(self, x):
        zeros = nn.initializers.zeros
        each = [nn.Embed(self.rows, 1, name=f"table{i}", embedding_init=zeros)(x) for i in range(self.tables)]
        return LOUD * jax.numpy.concatenate(each, axis=-1)


def _total(outputs, example):
    return -outputs.sum()  # descent raises a canary's row


LOSS = Loss("total", _total)


def _record(gradients: Any) -> None:
    SEEN.append(np.concatenate([np.asarray(leaf) for leaf in jax.tree.leaves(gradients)], axis=-1))


def watched(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns the optimizer with its gradients shown to the auditor: what differential privacy lets anyone see."""

    def update(gradients, state, params=None):
        jax.debug.callback(_record, gradients, ordered=True)
        return optimizer.update(gradients, state, params)

    return optax.GradientTransformation(optimizer.init, update)


SGD, ADAM = watched(optax.sgd(1.0)), watched(optax.adam(1e-2))


class Played(NamedTuple):
    """One run as its auditor sees it.

    Attributes:
      steps: [steps, rows] what each step's noised sum shows of each row.
      final: [rows] what the trained table holds of each.
      fit: the run.
    """

    steps: np.ndarray
    final: np.ndarray
    fit: training.Fit


def pool_of(rows: int) -> Examples:
    """Returns examples that are their own row's number; labels are not used."""
    return Examples(np.arange(rows, dtype=np.int32), np.zeros(rows, np.int32), np.arange(rows))


def play(private: privacy.PrivateTraining, member: np.ndarray, **options) -> Played:
    """Trains on the members and watches.

    Args:
      private: the run, of a model of `table_model` with as many rows.
      member: bool [rows], who is trained on.
      **options: of `training.fit`.
    """
    SEEN.clear()
    options = dict(optimizer=SGD, loss=LOSS) | private.options | options
    fitted = training.fit(private.model, pool_of(len(member)), member, **options)
    jax.effects_barrier()
    seen = np.stack(SEEN) if SEEN else np.zeros((0, len(member), 1))
    tables = np.concatenate([np.asarray(leaf) for leaf in jax.tree.leaves(fitted.variables["params"])], axis=-1)
    return Played(-seen.sum(-1) * private.sampling.batch_size, tables.sum(-1), fitted)


def table_model(canaries: int, tables: int = 1):
    """Returns the network whose parameters are the canaries' rows."""
    return models.from_linen(Table(canaries, tables))


def bounds(
    gaussian: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
    coins: np.ndarray,
    delta: float,
    confidence: float,
) -> dict[str, float]:
    """Returns empirical lower bounds on epsilon: the best of some statistics, which share its error.

    Args:
      gaussian: name -> [m], statistics that are Gaussian given the coin, if all is well.
      other: name -> [m], those that are not; they serve for guesses about all canaries.
      coins: bool [m].
      delta: in (0, 1).
      confidence: that both bounds hold.

    Returns:
      "guesses": by the guesses of Steinke et al., which assume fair coins alone, at two numbers of them.
      "signals": by `metrics.gaussian_signals_epsilon`.
    """
    each = 1 - (1 - confidence) / (2 * len(gaussian) + len(other))
    few = max(1, len(coins) // 100)
    guessed = [
        metrics.one_run_epsilon_from_scores(values, coins, guesses, delta, each).value
        for group, guesses in ((gaussian, [few, len(coins) // 5]), (other, [few, len(coins)]))
        for values in group.values()
    ]
    read = [metrics.gaussian_signals_epsilon(values, coins, delta, each).value for values in gaussian.values()]
    return {"guesses": max(guessed), "signals": max(read, default=0.0)}
