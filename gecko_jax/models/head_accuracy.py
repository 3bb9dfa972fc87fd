"""Accuracy of a transformer without some of its attention heads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import surroundings
from gecko_jax.checks import integer
from gecko_jax.models.heads import apply_gated
from gecko_jax.trees import by_blocks
from gecko_jax.types import Examples, Model, Variables

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
