"""Continues token rows by a causal language model: greedily, or by draws from its distribution."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import surroundings
from gecko_jax.checks import integer
from gecko_jax.keys import checked_key, stream
from gecko_jax.models.next_token import Draws, checked_draws, choose
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Array, Model, Variables

ROWS_PER_CALL = 64
MAX_RELATIVE_DRIFT = 1e-2  # of logits at one position, when tokens after it change: rounding explains less


def generate(
    model: Model,
    variables: Variables,
    prompts: Array,
    steps: int,
    *,
    key: int | Array | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    padding: int | None = 0,
    ensemble: bool = False,
    batch_size: int = ROWS_PER_CALL,
) -> np.ndarray:
    """Generates the tokens that follow each prompt, one after the other.

      greedy:  y_j = argmax_v z_j[v]          sampled:  y_j ~ softmax(z_j / temperature)

    z_j are the logits at the last token before y_j. Each step computes the whole row, so that any causal model works:
    fine-tuned, quantized, pruned.

    Args:
      model: a causal language model, token rows [b, t] -> logits [b, t, vocabulary].
      variables: its variables.
      prompts: int [n, p], padding on the right; rows may have different numbers of tokens, at least one each.
      steps: tokens to generate for each row. p + steps must fit the model's longest row.
      key: of the draws, a seed or a JAX key. A row's draws depend on the key and its number alone. None: greedy.
      temperature: above 0; below 1 the more probable tokens become more frequent.
      top_k: draws are among the top_k most probable tokens; None: among all.
      padding: the token that fills rows, which is never generated. None: no token is padding, all rows are full.
      ensemble: whether variables have a leading axis of m models.
      batch_size: rows of one call.

    Returns:
      int32 [n, steps]: the tokens after each prompt's last token. [m, n, steps] of an ensemble.

    Raises:
      ValueError: prompts of another shape or type, without a token, with padding before a token, or with tokens outside
        the vocabulary; temperature or top_k without a key; outputs that are not logits of each position; NaN among the
        logits; a model that is not causal, told by logits that change with later tokens.

    >>> from gecko_jax import models
    >>> model = models.create("transformer", 11, layers=1, width=8, heads=2, max_length=8)
    >>> prompts = np.array([[3, 4, 5], [6, 0, 0]])
    >>> variables = jax.jit(model.init)(jax.random.key(0), prompts)
    >>> generate(model, variables, prompts, 4).shape
    (2, 4)
    """
    prompts, lengths = _checked_prompts(prompts, padding)
    steps, draws = integer("steps", steps, 1), checked_draws(key, temperature, top_k, padding)
    if ensemble:
        each = [take(variables, i) for i in range(row_count("variables", variables))]
        return np.stack([_generated(model, one, (prompts, lengths), steps, (draws, key, batch_size)) for one in each])
    return _generated(model, variables, (prompts, lengths), steps, (draws, key, batch_size))


def _generated(model: Model, variables: Variables, prompts: Any, steps: int, how: Any) -> np.ndarray:
    (prompts, lengths), (draws, key, batch_size) = prompts, how
    rows = len(prompts)
    tokens = np.pad(prompts, ((0, 0), (0, steps)), constant_values=draws.padding or 0)
    _check_outputs(model, variables, tokens, draws)
    root = stream(0 if key is None else checked_key("key", key), "generate")
    program, variables = _program(model, steps, draws), jax.device_put(variables)

    def block(index):
        numbers = np.arange(rows, dtype=np.uint32)[index]
        return program(variables, tokens[index], lengths[index], numbers, root)

    generated, broken, drift = by_blocks(block, rows, min(integer("batch_size", batch_size, 1), rows), full=True)
    if broken.any():
        raise ValueError(
            f"the logits after prompt {int(broken.argmax())} hold NaN: its tokens are outside the vocabulary, or the "
            "model diverged. Check the tokenizer and the variables."
        )
    if drift.max() > MAX_RELATIVE_DRIFT:
        raise ValueError(
            f"the logits at a position change by {drift.max():.2g} of their size with the tokens after it; generate "
            "takes a causal model, whose positions see earlier ones alone. Create it with causal=True, and quantize "
            "inputs with a range that does not depend on the row."
        )
    return generated


@functools.lru_cache(maxsize=64)
def _program(model: Model, steps: int, draws: Draws) -> Callable[..., Any]:
    def forward(variables, tokens, position):
        logits = model.apply(variables, tokens)[0].astype(jnp.float32)
        return jnp.take_along_axis(logits, position[:, None, None], axis=1)[:, 0]

    def run(variables, tokens, lengths, numbers, root):
        keys = jax.vmap(lambda number: jax.random.fold_in(root, number))(numbers)
        rows = jnp.arange(len(tokens))

        def step(state, j):
            tokens, broken = state
            logits = forward(variables, tokens, lengths - 1 + j)
            chosen = choose(logits, keys, j, draws)
            return (tokens.at[rows, lengths + j].set(chosen), broken | jnp.isnan(logits).any(-1)), chosen

        before = forward(variables, tokens, lengths - 1)
        start = (tokens, jnp.zeros(len(tokens), bool))
        (tokens, broken), chosen = jax.lax.scan(step, start, jnp.arange(steps))
        after = forward(variables, tokens, lengths - 1)
        finite = jnp.isfinite(before) & jnp.isfinite(after)
        drift = jnp.where(finite, jnp.abs(after - before), 0.0).max(-1)
        return chosen.T, broken, drift / jnp.maximum(jnp.where(finite, jnp.abs(before), 0.0).max(-1), 1e-6)

    return surroundings.jit(run)


def _checked_prompts(prompts: Array, padding: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns prompts int32 [n, p] and their numbers of tokens int32 [n]."""
    prompts = np.asarray(prompts)
    if prompts.ndim != 2 or prompts.dtype.kind not in "iu" or 0 in prompts.shape:
        raise ValueError(
            f"prompts have shape {prompts.shape} and type {prompts.dtype}; expected integers [rows, tokens], at least "
            "one of each."
        )
    if padding is None:
        return prompts.astype(np.int32), np.full(len(prompts), prompts.shape[1], np.int32)
    real = prompts != padding
    lengths = real.sum(1)
    wrong = np.flatnonzero((lengths == 0) | (real != (np.arange(prompts.shape[1])[None] < lengths[:, None])).any(1))
    if wrong.size:
        raise ValueError(
            f"prompts[{wrong[0]}] has {lengths[wrong[0]]} tokens, and padding={padding} before one of them or nothing "
            "else; expected at least one token, and padding on the right alone."
        )
    return prompts.astype(np.int32), lengths.astype(np.int32)


def _check_outputs(model: Model, variables: Variables, tokens: np.ndarray, draws: Draws) -> None:
    row = jax.ShapeDtypeStruct((1, tokens.shape[1]), jnp.int32)
    shape = jax.tree.map(jnp.shape, jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], variables, row))
    if not (isinstance(shape, tuple) and len(shape) == 3 and shape[:2] == row.shape):
        raise ValueError(
            f"the model gives outputs of shape {shape} for tokens {row.shape}; generate takes logits [rows, tokens, "
            "vocabulary]."
        )
    if tokens.min() < 0 or tokens.max() >= shape[2]:
        raise ValueError(
            f"prompts hold tokens {tokens.min()} to {tokens.max()}; the model has logits for 0 to {shape[2] - 1}. Use "
            "the tokenizer that the model was trained with."
        )
    if draws.top_k is not None and draws.top_k > shape[2] - (draws.padding is not None):
        raise ValueError(f"top_k={draws.top_k} must not exceed the vocabulary of {shape[2]} tokens.")
