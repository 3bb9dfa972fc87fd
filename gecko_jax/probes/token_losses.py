"""The loss of each token under a language model, without its logits ever leaving the device."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Array, Model, Variables

MAX_DRIFT = 1e-3  # nats, of a token's loss when later tokens change: rounding explains less
MIN_DRIFT = 1e-6  # the same, of a model that sees these tokens: more than rounding


def token_losses(
    model: Model, variables: Variables, x: Array, y: Array, ensemble: bool = False, batch_size: int = 64
) -> np.ndarray:
    """Reads -log p of each token y under a model of tokens x.

    Args:
      model: a language model, causal or masked: token rows [b, t] -> logits [b, t, vocabulary].
      variables: its variables; with a leading axis of models if `ensemble`.
      x: int [n, t], the model's input.
      y: int [n, t] tokens that its logits are compared with; a negative one does not count.
      ensemble: whether the variables are of several models.
      batch_size: rows in one call.

    Returns:
      float64 [n, t], or [m, n, t] of an ensemble: nats, 0 where y is negative. Those of a confident model keep their
      digits, because 1 - p is not rounded to 0.

    Raises:
      ValueError: arrays of other shapes or types, a row without a token that counts, tokens beyond the vocabulary, a
        model with other outputs, losses that are not finite, rows of next tokens for a model that sees them, or rows of
        other tokens (masked ones, or y = x) for a causal model.

    >>> from gecko_jax import models
    >>> model = models.create("transformer", 8, layers=1, width=8, heads=1, max_length=4)
    >>> tokens = np.array([[3, 4, 5, 6], [5, 4, 0, 0]])
    >>> y = np.where(tokens[:, 1:] == 0, -1, tokens[:, 1:])
    >>> losses = token_losses(model, jax.jit(model.init)(jax.random.key(0), tokens[:, :-1]), tokens[:, :-1], y)
    >>> losses.shape, (losses > 0).sum(1).tolist()
    ((2, 3), [3, 1])
    """
    x, y = check_rows(x, y)
    if ensemble:
        count = row_count("variables", variables)
        return np.stack([token_losses(model, take(variables, i), x, y, False, batch_size) for i in range(count)])
    shape = jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], variables, x[:1]).shape
    if len(shape) != 3 or shape[:2] != (1, x.shape[1]):
        raise ValueError(
            f"model gives outputs of shape {shape} for tokens {x[:1].shape}; expected (1, {x.shape[1]}, vocabulary), "
            "a language model's."
        )
    if y.max() >= shape[-1]:
        raise ValueError(f"y runs to {y.max()}; the model has logits for 0..{shape[-1] - 1}.")
    compiled = _compiled(model)
    _check_targets(model, variables, x, y, batch_size)
    losses = by_blocks(lambda rows: compiled(variables, x[rows], y[rows]), len(x), batch_size, full=True)
    if not np.isfinite(losses).all():
        bad = np.argwhere(~np.isfinite(losses))[0].tolist()
        raise ValueError(
            f"the loss of token {bad[1]} of row {bad[0]} is {losses[tuple(bad)]}: a diverged model cannot be audited, "
            "and a token of x outside of the vocabulary gives NaN."
        )
    return losses.astype(np.float64)


def check_rows(x: Array, y: Array, name: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Returns (x, y) int32 [n, t].

    Raises:
      ValueError: other shapes or types, no row, or a row without a token that counts.
    """
    x, y = (np.asarray(checks.unmasked(f"{name}{part}", array)) for part, array in (("x", x), ("y", y)))
    for part, array in (("x", x), ("y", y)):
        checks.not_empty(f"{name}{part}", checks.shape(f"{name}{part}", array, (None, None)))
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name}{part} has dtype {array.dtype}; expected tokens, integers (rows, tokens).")
    checks.shape(f"{name}y", y, x.shape)
    if not (y >= 0).any(1).all():
        row = int((y >= 0).any(1).argmin())
        raise ValueError(f"{name}y[{row}] has no token that counts: all of them are negative. Leave the row out.")
    return x.astype(np.int32), y.astype(np.int32)


def later_drift(model: Model, variables: Variables, x: np.ndarray, batch_size: int) -> float:
    """Returns by how many nats the losses of the first tokens of rows change with the tokens after them: 0 if causal.

    Args:
      model, variables: of a language model.
      x: int [n, t], t >= 2; the first rows are read.
      batch_size: rows in one call.
    """
    return _drift(model, variables, x, batch_size, 0)


def is_causal(model: Model, variables: Variables, x: np.ndarray, batch_size: int) -> bool:
    """Returns whether a model sees the tokens before a place and not those after it.

    Args:
      model, variables, x, batch_size: as of `later_drift`.
    """
    later, earlier = (_drift(model, variables, x, batch_size, place) for place in (0, -1))
    return later < MIN_DRIFT < earlier


def _drift(model: Model, variables: Variables, x: np.ndarray, batch_size: int, place: int) -> float:
    """Returns by how many nats the loss of a place changes if the token there stands everywhere."""
    x = np.resize(x, (batch_size, x.shape[1])).astype(np.int32)
    others = np.broadcast_to(x[:, place][:, None], x.shape)
    y = np.zeros_like(x)  # any token's loss will do
    before, after = (np.asarray(_compiled(model)(variables, tokens, y))[:, place] for tokens in (x, others))
    return float(np.abs(before - after).max())


def _check_targets(model: Model, variables: Variables, x: np.ndarray, y: np.ndarray, batch_size: int) -> None:
    """Raises ValueError for next tokens that the model sees, and for others that a causal model does not predict."""
    counts = y[:, :-1] >= 0
    if not counts.any():
        return
    are_next = bool((y[:, :-1] == x[:, 1:])[counts].all())
    if are_next and (drift := later_drift(model, variables, x, batch_size)) > MAX_DRIFT:
        raise ValueError(
            f"y are the next tokens of x, and the model sees them: the loss of the first changes by {drift:.2g} nats "
            "with the tokens after it. Give a causal model, or hide tokens from a masked one: rows.masked(seed)."
        )
    if not are_next and is_causal(model, variables, x, batch_size):
        raise ValueError(
            "y are not the next tokens of x, which a causal model predicts: its losses would be of other tokens. Give "
            "it rows.causal(), x = tokens[:, :-1] and y = tokens[:, 1:]; a masked model, rows.masked(seed)."
        )


@functools.lru_cache(maxsize=16)
def _compiled(model: Model) -> Callable[..., Array]:
    def losses(variables: Variables, x: Array, y: Array) -> Array:
        logits = model.apply(variables, x)[0].astype(jnp.float32)
        column = jnp.where(y >= 0, y, 0)[..., None]
        chosen = jnp.take_along_axis(logits, column, -1)[..., 0]
        others = jnp.where(jnp.arange(logits.shape[-1])[None, None] == column, -jnp.inf, logits)
        odds = chosen - jax.nn.logsumexp(others, axis=-1)
        return jnp.where(y >= 0, jax.nn.softplus(-odds), 0.0)

    return surroundings.jit(losses)
