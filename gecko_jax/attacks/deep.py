"""Attack networks in Flax, trained on the shadows' records, where who was a member is known.

The attacks that run them import this file inside their score, because Flax and Optax take more than a second to import.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from gecko_jax import keys, surroundings
from gecko_jax.attacks.networks import training_rows
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Signals, Variables

BATCH_ROWS = 64
EPOCHS = 10
MAX_STEPS = 2000  # a bound on time if there are many rows
LEARNING_RATE = 1e-3  # falls to 0 along a cosine
MIN_PADDED_ROWS = 256  # rows are padded to a power of two from here on, because then few programs serve all
MAX_ROWS_PER_CALL = 1024  # in scoring
MAX_DEVIATIONS = 10.0  # what lies beyond, infinities among it, is clipped


class Encoders(nn.Module):
    """Maps [b, parts, w] to log odds [b]: an encoder for each part, and 256-128-64-1 units on all of their outputs."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns log odds [b]."""
        encoded = []
        for part in range(x.shape[1]):
            hidden = nn.relu(nn.Dense(128)(x[:, part]))
            encoded.append(nn.relu(nn.Dense(64)(hidden)))
        hidden = jnp.concatenate(encoded, -1)
        for width in (256, 128, 64):
            hidden = nn.relu(nn.Dense(width)(hidden))
        return nn.Dense(1)(hidden)[:, 0]


class Layer(nn.Module):
    """Maps [b, classes, 64] to the same shape: a layer of a transformer's encoder."""

    @nn.compact
    def __call__(self, tokens: Array, _: None) -> tuple[Array, None]:
        """Returns the tokens behind the layer, and None for `nn.scan`."""
        tokens = nn.LayerNorm()(tokens + nn.MultiHeadDotProductAttention(4)(tokens))
        return nn.LayerNorm()(tokens + nn.Dense(64)(nn.gelu(nn.Dense(128)(tokens)))), None


class OverClasses(nn.Module):
    """Maps [b, parts, classes] to log odds [b]: a transformer over classes, each a token of its parts."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns log odds [b]."""
        tokens = nn.gelu(nn.Dense(64)(x.swapaxes(1, 2)))
        layers = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        tokens, _ = layers()(tokens, None)
        hidden = nn.relu(nn.Dense(64)(tokens.reshape(len(x), -1)))
        out, inside = nn.Dense(2)(hidden).T
        return inside - out


def log_odds(network: nn.Module, read: Signals) -> np.ndarray:
    """Trains a network on the shadows' records and returns its log odds of membership [n] on the target's records.

    The order of the records does not matter: rows are sorted before anything is drawn, and equal ones are scored once.

    Args:
      network: [b, ...] -> log odds [b]; equal modules of equal shapes share a compiled program.
      read: a signal of the same [...] a record.
    """
    seen, member = read.values.reshape(-1, *read.values.shape[2:]), read.member.reshape(-1)
    rows = training_rows(seen.reshape(len(seen), -1), member)
    x, member = seen[rows], member[rows]
    scaled = _scaling(x)
    size = _padded(len(rows))
    steps = min(MAX_STEPS, EPOCHS * size // BATCH_ROWS)
    draws, parts = keys.generator(0, "attack network", "batches"), []
    while sum(map(len, parts)) < steps * BATCH_ROWS:
        parts.append(draws.permutation(len(rows)))
    batches = np.concatenate(parts)[: steps * BATCH_ROWS].reshape(steps, BATCH_ROWS).astype(np.int32)
    variables = _trained(network, _filled(scaled(x), size), _filled(member.astype(np.float32), size), batches)

    distinct, which = np.unique(read.target.reshape(len(read.target), -1), axis=0, return_inverse=True)
    x = scaled(distinct.reshape(-1, *x.shape[1:]))
    block = min(MAX_ROWS_PER_CALL, _padded(len(x)))
    log_odds_of_distinct = by_blocks(lambda rows: _applied(network, variables, x[rows]), len(x), block, full=True)
    return log_odds_of_distinct[which.reshape(-1)].astype(np.float64)


def _scaling(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Standardizes each column by the mean and the deviation of what is finite in x [k, ...]; a constant one to 0."""
    finite = np.isfinite(x)
    count = np.maximum(finite.sum(0), 1)
    middle = np.where(finite, x, 0.0).sum(0) / count
    scale = np.sqrt((np.where(finite, x - middle[None], 0.0) ** 2).sum(0) / count)
    scale = np.where(scale > 1e-12 * np.abs(middle), scale, 1.0)
    return lambda x: np.clip((x - middle[None]) / scale[None], -MAX_DEVIATIONS, MAX_DEVIATIONS).astype(np.float32)


def _padded(rows: int) -> int:
    return max(MIN_PADDED_ROWS, 1 << (rows - 1).bit_length())


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Returns the rows with zeros behind them, which nothing reads, up to `size` rows."""
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])


@functools.partial(surroundings.jit, static_argnums=0)
def _trained(network: nn.Module, x: Array, member: Array, batches: Array) -> Variables:
    """Returns trained variables, by one program: Adam along batches [steps, b] of row numbers."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, len(batches)))

    def loss(variables, rows):
        return optax.sigmoid_binary_cross_entropy(network.apply(variables, x[rows]), member[rows]).mean()

    def step(state: Any, rows: Array) -> tuple[Any, None]:
        variables, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(variables, rows), moments)
        return (optax.apply_updates(variables, updates), moments), None

    variables = network.init(keys.stream(0, "attack network", "init"), x[:1])
    return jax.lax.scan(step, (variables, optimizer.init(variables)), batches)[0][0]


@functools.partial(surroundings.jit, static_argnums=0)
def _applied(network: nn.Module, variables: Variables, x: Array) -> Array:
    logits: Any = network.apply(variables, x)
    return logits
