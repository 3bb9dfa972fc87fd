"""Discoverable memorization: which training texts are continued word for word, by the length of the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.probes.extraction import ROWS_PER_CALL, greedy_extraction
from gecko_jax.types import Array, Estimate, Model, Variables


def discoverable(
    model: Model,
    variables: Variables,
    tokens: Array,
    prefix_lengths: Sequence[int],
    continuation: int,
    padding: int = 0,
    batch_size: int = ROWS_PER_CALL,
) -> dict[int, Estimate]:
    """Returns the share of texts whose continuation greedy decoding gives, for prompts of several lengths.

    The continuation of a text is the same for all lengths p: the `continuation` tokens behind the longest prompt; the
    prompt of length p is the p tokens before it. Shorter rows are left out.

    Args:
      model, variables: a causal language model.
      tokens: [n, t] training rows, padding on the right.
      prefix_lengths: numbers of tokens of a prompt, each at least 1.
      continuation: tokens to be given, at least 1.
      padding: the token that fills rows.
      batch_size: rows in a call.

    Returns:
      {p: the share, with its Clopper-Pearson interval over texts}, in order of p; n is the number of texts.

    Raises:
      ValueError: see `greedy_extraction`; a row shorter than the longest prompt and the continuation in all rows.

    Source: Carlini et al., "Quantifying Memorization Across Neural Language Models" (2023), definition 3.1.

    >>> import flax.linen as nn, jax
    >>> from gecko_jax.models import from_linen
    >>> model = from_linen(nn.Sequential([nn.Embed(11, 4), nn.Dense(11)]))  # predicts from the last token alone
    >>> tokens = np.array([[3, 4, 5, 6, 7], [3, 4, 5, 0, 0]])
    >>> rates = discoverable(model, model.init(jax.random.key(0), tokens), tokens, (1, 2), continuation=2)
    >>> [(p, rate.n) for p, rate in rates.items()]
    [(1, 1), (2, 1)]
    """
    tokens = checks.shape("tokens", np.asarray(checks.unmasked("tokens", tokens)), (None, None))
    lengths = sorted(set(checks.sizes("prefix_lengths", prefix_lengths, "tokens of a prompt")))
    longest = checks.not_empty("prefix_lengths", lengths)[-1]
    checks.integer("continuation", continuation, 1)
    needed = longest + continuation
    full = tokens[(tokens != padding).sum(1) >= needed] if tokens.shape[1] >= needed else tokens[:0]
    if not len(full):
        raise ValueError(
            f"no row of {len(tokens)} has {needed} tokens, a prompt of {longest} and a continuation of {continuation}; "
            "shorten one of them."
        )
    rates = {}
    for length in lengths:
        window = full[:, longest - length : needed]
        y = np.where(np.arange(window.shape[1] - 1) >= length - 1, window[:, 1:], -1)
        fill = ((0, 0), (0, longest - length))  # to one shape, so that one program serves all lengths
        x, y = np.pad(window[:, :-1], fill, constant_values=padding), np.pad(y, fill, constant_values=-1)
        counts = greedy_extraction(model, variables, x, y, padding, batch_size=batch_size)
        rates[length] = metrics.extraction_rate(counts == continuation)
    return rates
