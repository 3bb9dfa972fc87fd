"""Extraction: which texts a causal language model continues word for word by greedy decoding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, metrics, surroundings
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Array, Model, Variables

ROWS_PER_CALL = 64
MAX_RELATIVE_DRIFT = 1e-2  # of logits, when a token after them changes: rounding explains less


def greedy_extraction(
    model: Model,
    variables: Variables,
    x: Array,
    y: Array,
    padding: int | None = 0,
    ensemble: bool = False,
    batch_size: int = ROWS_PER_CALL,
) -> np.ndarray:
    """Returns how many leading tokens of each true continuation greedy decoding gives, by one forward pass.

    Greedy decoding gives the true continuation as long as each true token is the likeliest one after the true tokens
    before it (the first of the likeliest, on a tie). A continuation is extracted if all its tokens are given.

    Args:
      model: a causal language model, x [b, t] -> logits [b, t, vocabulary].
      variables: its variables; of m models with a leading axis if `ensemble`.
      x: tokens [n, t], the prompts and the true continuations; padding on the right.
      y: [n, t] the tokens that follow those of x; a negative one (of the prompt, padding) does not count.
      padding: the token that is never generated, as of `models.generate`; None: every token may be.
      ensemble: whether variables have a leading axis of m models.
      batch_size: rows in a call.

    Returns:
      Integers [n], or [m, n] of an ensemble; `counts == (y >= 0).sum(1)` marks what is extracted.

    Raises:
      ValueError: wrong shapes or types, a row of y in which no token counts, y that does not follow x, tokens outside
        the vocabulary, or a model that gives no such logits, or is not causal.

    Source: the induction is stated in `metrics.greedy_tokens`.

    >>> import flax.linen as nn
    >>> from gecko_jax.models import from_linen
    >>> model = from_linen(nn.Sequential([nn.Embed(11, 4), nn.Dense(11)]))  # predicts from the last token alone
    >>> x, y = np.array([[3, 4, 5]]), np.array([[-1, 5, 6]])
    >>> greedy_extraction(model, model.init(jax.random.key(0), x), x, y).shape
    (1,)
    """
    x, y = check_shifted(x, y)
    if ensemble:
        each = [take(variables, i) for i in range(row_count("variables", variables))]
        return np.stack([greedy_extraction(model, one, x, y, padding, batch_size=batch_size) for one in each])
    program, device_variables = _likeliest(model, padding), jax.device_put(variables)
    size = min(checks.integer("batch_size", batch_size, 1), len(x))
    tokens, broken, drift, vocabulary = by_blocks(lambda i: program(device_variables, x[i]), len(x), size, full=True)
    if max(x.max(), y.max()) >= vocabulary[0] or x.min() < 0:
        raise ValueError(
            f"x and y hold tokens from {x.min()} to {max(x.max(), y.max())}; the model has logits for 0 to "
            f"{vocabulary[0] - 1}. Use the tokenizer that the model was trained with."
        )
    if broken.any():
        raise ValueError(f"the logits of row {int(broken.argmax())} hold NaN; a diverged model decodes nothing.")
    if drift.max() > MAX_RELATIVE_DRIFT:
        raise ValueError(
            f"the logits change by {drift.max():.2g} of their size with the tokens after them; expected a causal "
            "model, whose positions see earlier ones alone. Create it with causal=True."
        )
    return metrics.matched_tokens(tokens, y)


def check_shifted(x: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Checks that y holds the tokens that follow those of x, and returns both as arrays.

    Args:
      x: tokens [n, t].
      y: [n, t], negative if a token does not count.

    Raises:
      ValueError: other shapes or types, a row of y in which no token counts, or one that is not the next of x.
    """
    x, y = (np.asarray(checks.unmasked(name, value)) for name, value in (("x", x), ("y", y)))
    checks.shape("x", x, y.shape)
    metrics.matched_tokens(y, y)  # refuses what has no token to count, and other types
    other = (y[:, :-1] >= 0) & (y[:, 1:] >= 0) & (x[:, 1:] != y[:, :-1])
    if other.any():
        row, place = (int(i) for i in np.argwhere(other)[0])
        raise ValueError(
            f"y[{row}, {place}] is {y[row, place]}, and x[{row}, {place + 1}] is {x[row, place + 1]}; expected the "
            "same: x = tokens[:, :-1] holds the true tokens, and y = tokens[:, 1:] those that follow them."
        )
    return x, y


@functools.lru_cache(maxsize=32)
def _likeliest(model: Model, padding: int | None) -> Callable[[Variables, Array], tuple[Array, ...]]:
    """Returns a program: the likeliest token of each place; of each row, what speaks against the model."""

    def run(variables, x):
        logits: Any = model.apply(variables, x)[0]
        if jnp.ndim(logits) != 3 or logits.shape[:2] != x.shape:
            raise ValueError(
                f"the model has outputs of shape {jnp.shape(logits)} for tokens {x.shape}; expected logits (rows, "
                "tokens, vocabulary), of a causal language model."
            )
        broken = jnp.isnan(logits).any((-2, -1))
        # One row with another last token: a causal model's earlier logits stay.
        changed = x[:1].at[:, -1].set(jnp.where(x[0, -1] == 1, 2, 1))
        before, after = (model.apply(variables, row)[0][:, :-1] for row in (x[:1], changed))
        drift = jnp.abs(after - before).max(initial=0) / jnp.maximum(jnp.abs(before).max(initial=0), 1e-6)
        possible = logits if padding is None else logits.at[..., padding].set(-jnp.inf)
        each = (jnp.full(len(x), value) for value in (drift, logits.shape[-1]))
        return jnp.argmax(possible, -1), broken, *each

    return surroundings.jit(run)
