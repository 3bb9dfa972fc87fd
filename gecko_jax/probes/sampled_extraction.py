"""Extraction by sampling: how often a causal language model draws the true continuation."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.models import generate
from gecko_jax.probes.extraction import check_shifted
from gecko_jax.types import Array, Model, Variables


def sampled_draws(
    model: Model,
    variables: Variables,
    x: Array,
    y: Array,
    key: int | Array,
    draws: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> np.ndarray:
    """Counts how many of several sampled continuations of each prompt are the true one.

    Without `top_k`, `metrics.sampled_extraction` gives the expected share without a draw, by the losses at the same
    temperature.

    Args:
      model, variables: a causal language model.
      x, y: see `greedy_extraction`. The prompt is x up to the token that the first counted one of y follows; the tokens
        of y that count must be consecutive.
      key: of the draws, a seed or a JAX key.
      draws: continuations of each prompt, at least 1.
      temperature, top_k: see `models.generate`.

    Returns:
      Integers [n], of `draws` each.

    Raises:
      ValueError: see `greedy_extraction` and `models.generate`; tokens of y that count with a gap between them.

    >>> import flax.linen as nn, jax
    >>> from gecko_jax.models import from_linen
    >>> model = from_linen(nn.Sequential([nn.Embed(11, 4), nn.Dense(11)]))  # predicts from the last token alone
    >>> x, y = np.array([[3, 4, 5]]), np.array([[-1, 5, 6]])
    >>> sampled_draws(model, model.init(jax.random.key(0), x), x, y, key=0, draws=2).shape
    (1,)
    """
    checks.integer("draws", draws, 1)
    prompts, truth = prompts_of(x, y)
    repeated = np.repeat(prompts, draws, 0)
    generated = generate(model, variables, repeated, truth.shape[1], key=key, temperature=temperature, top_k=top_k)
    return metrics.is_extracted(generated, np.repeat(truth, draws, 0)).reshape(len(truth), draws).sum(1)


def prompts_of(x: Array, y: Array, padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows into prompts and true continuations, for `models.generate`.

    Args:
      x: tokens [n, t].
      y: [n, t] the tokens that follow those of x, negative if they are of the prompt or padding; those that count are
        consecutive.
      padding: the token that fills the prompts on the right.

    Returns:
      (prompts [n, p], continuations [n, s] with -1 after their ends).

    Raises:
      ValueError: other shapes or types, a row without a token that counts, or with a gap between them.

    >>> prompts, truth = prompts_of([[3, 4, 5], [6, 7, 0]], [[-1, 5, 6], [7, -1, -1]])
    >>> prompts.tolist(), truth.tolist()
    ([[3, 4], [6, 0]], [[5, 6], [7, -1]])
    """
    x, y = check_shifted(x, y)
    counts = metrics.matched_tokens(y, y)
    first = (y >= 0).argmax(1)
    places = np.arange(y.shape[1])
    inside = (places >= first[:, None]) & (places < (first + counts)[:, None])
    if ((y >= 0) != inside).any():
        row = int(((y >= 0) != inside).any(1).argmax())
        raise ValueError(f"y[{row}] has a gap between the tokens that count; a continuation has none.")
    prompts = np.where(places <= first[:, None], x, padding)[:, : int(first.max()) + 1]
    columns = np.minimum(first[:, None] + np.arange(int(counts.max())), y.shape[1] - 1)
    truth = np.where(np.arange(int(counts.max())) < counts[:, None], np.take_along_axis(y, columns, 1), -1)
    return prompts.astype(np.int32), truth.astype(np.int32)
