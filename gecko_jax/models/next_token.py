"""The next token of a row from its logits: the most probable one, or a draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax.checks import integer, positive
from gecko_jax.types import Array


class Draws(NamedTuple):
    """How the next token follows from the logits.

    Attributes:
      greedy: whether the most probable token is taken instead of a draw.
      temperature: divides the logits before a draw.
      top_k: a draw is among this many of the most probable tokens; None: among all.
      padding: a token that is never generated; None: every token may be.
    """

    greedy: bool
    temperature: float = 1.0
    top_k: int | None = None
    padding: int | None = 0


def choose(logits: jax.Array, keys: Array, step: Array, draws: Draws) -> Array:
    """Returns the next token of each row, int32 [b].

    Args:
      logits: float [b, vocabulary].
      keys: of the rows [b].
      step: the number of tokens that were generated before.
      draws: how the token follows.
    """
    if draws.padding is not None:
        logits = logits.at[:, draws.padding].set(-jnp.inf)
    if draws.greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    if draws.top_k is not None:
        logits = jnp.where(logits < jax.lax.top_k(logits, draws.top_k)[0][:, -1:], -jnp.inf, logits)
    draw = jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, step), row))
    return draw(keys, logits / draws.temperature).astype(jnp.int32)


def checked_draws(key: Any, temperature: float, top_k: int | None, padding: int | None) -> Draws:
    """Returns the arguments of `generate` as a record.

    Args:
      key, temperature, top_k, padding: see `generate`.

    Raises:
      ValueError: temperature or top_k without a key, or out of their bounds.
    """
    if key is None and (temperature != 1.0 or top_k is not None):
        raise ValueError(
            f"temperature={temperature!r} and top_k={top_k!r} need a key: without one the most probable token is taken."
        )
    top_k = None if top_k is None else integer("top_k", top_k, 1)
    padding = None if padding is None else integer("padding", padding, 0)
    return Draws(key is None, float(positive("temperature", temperature)), top_k, padding)
