"""Accuracy of a transformer without some of its attention heads, with bounds that held-out rows certify."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from gecko_jax import surroundings
from gecko_jax.checks import integer
from gecko_jax.models.heads import apply_gated
from gecko_jax.trees import by_blocks
from gecko_jax.types import Estimate, Examples, Model, Variables

STATES_PER_CALL = 8  # of one compiled program, whose gates are a batch
Removed = frozenset[int]


class HeadAccuracy(NamedTuple):
    """Evaluates sets of removed heads on some rows.

    Attributes:
      hits: k sets -> tokens of each row that are predicted without these heads, float64 [k, n].
      counts: tokens of each row that count, float64 [n].
    """

    hits: Callable[[Sequence[Removed]], np.ndarray]
    counts: np.ndarray

    def accuracy(self, states: Sequence[Removed]) -> np.ndarray:
        """Returns the share of tokens that are predicted, float64 [sets]."""
        return self.hits(states).sum(1) / self.counts.sum()


def certified(
    rows: HeadAccuracy, chain: list[Removed], limits: tuple[float | None, float | None], confidence: float
) -> Removed:
    """Returns the largest set of a chain whose accuracy is certified, all smaller ones being certified, too.

    Args:
      rows: of held-out rows.
      chain: sets, each within the next, from the empty one on.
      limits: (floor, max_drop), as of `prune_heads`; one of them is None.
      confidence: of the one-sided bounds.

    Raises:
      ValueError: a floor that is not certified for the empty set.
    """
    floor, max_drop = limits
    full = accuracy_without(rows, chain[0], confidence)
    if floor is not None and (full.low or 0.0) < floor:
        raise ValueError(
            f"floor={floor!r} cannot be certified even with all heads: on held_out the accuracy is {full.value:.4f}, "
            f"its lower bound {full.low:.4f}. Lower the floor, hold out more rows, or limit the drop by max_drop."
        )
    passed = chain[0]
    for state in chain[1:]:
        if floor is not None and (accuracy_without(rows, state, confidence).low or 0.0) < floor:
            break
        if max_drop is not None and (drop_without(rows, state, confidence).high or 0.0) > max_drop:
            break
        passed = state
    return passed


def accuracy_without(rows: HeadAccuracy, state: Removed, confidence: float) -> Estimate:
    """Returns the accuracy on the rows with its one-sided lower bound.

    Args:
      rows: of held-out rows.
      state: the heads that are removed.
      confidence: of the bound.
    """
    hits = rows.hits([state])[0]
    value, low = _ratio(hits, rows.counts, confidence, worst=0.0)
    return Estimate(value, low, 1.0, kind="measured", n=len(hits))


def drop_without(rows: HeadAccuracy, state: Removed, confidence: float) -> Estimate:
    """Returns the accuracy of the whole model minus that without some heads, with its one-sided upper bound.

    Args:
      rows: of held-out rows.
      state: the heads that are removed.
      confidence: of the bound.
    """
    if not state:
        return Estimate(0.0, 0.0, 0.0, kind="measured", n=len(rows.counts))
    full, hits = rows.hits([Removed(), state])
    value, low = _ratio(hits - full, rows.counts, confidence, worst=-1.0)
    return Estimate(-value, -1.0, -low, kind="measured", n=len(hits))


def _ratio(sums: np.ndarray, counts: np.ndarray, confidence: float, worst: float) -> tuple[float, float]:
    """Returns sums over counts and its lower bound, no row being below `worst`; rows are independent."""
    ratio, n = sums.sum() / counts.sum(), len(counts)
    residuals = sums - ratio * counts
    error = np.sqrt(n / max(n - 1, 1) * (residuals**2).sum()) / counts.sum()
    if error > 0:
        return float(ratio), float(max(worst, ratio - stdtrit(n - 1, confidence) * error))
    alike = (1 - confidence) ** (1 / n)  # n rows are the same: so is at least this share of all rows
    return float(ratio), float(alike * ratio + (1 - alike) * worst)


def head_accuracy(
    model: Model, variables: Variables, data: Examples, heads: dict[str, int], batch_size: int
) -> HeadAccuracy:
    """Returns what evaluates sets of removed heads on rows.

    Args:
      model, variables: the whole transformer.
      data: rows, x and y int [n, t], with -1 where a token does not count.
      heads: {block: number of its heads}; a set holds places in this order, from 0.
      batch_size: rows of one call.
    """
    x, y = np.asarray(data.x, np.int32), np.asarray(data.y, np.int32)
    ends = np.cumsum(list(heads.values()))
    program, placed = _program(model, tuple(heads)), jax.device_put(variables)
    size = min(integer("batch_size", batch_size, 1), len(x))

    def hits(states: Sequence[Removed]) -> np.ndarray:
        gates = np.ones((-(-len(states) // STATES_PER_CALL) * STATES_PER_CALL, ends[-1]), np.float32)
        for gate, state in zip(gates, states, strict=False):
            gate[list(state)] = 0
        parts = []
        for block in np.split(gates, len(gates) // STATES_PER_CALL):
            by_head = tuple(np.split(block, ends[:-1], axis=1))
            parts.append(by_blocks(lambda i, g=by_head: program(placed, x[i], y[i], g), len(x), size, full=True))
        return np.concatenate(parts, axis=1).T[: len(states)].astype(np.float64)

    return HeadAccuracy(hits, (y >= 0).sum(1).astype(np.float64))


@functools.lru_cache(maxsize=16)
def _program(model: Model, blocks: tuple[str, ...]) -> Callable[..., Any]:
    def run(variables, x, y, gates):
        def of_state(gate):
            logits = apply_gated(model, variables, x, dict(zip(blocks, gate, strict=True)))
            return ((jnp.argmax(logits, -1) == y) & (y >= 0)).sum(-1)

        return jax.lax.map(of_state, gates).T  # [rows, states]

    return surroundings.jit(run)
