"""The signals of a language model that attacks read, each a number a text, for `audit.from_signals`.

    rows = text.rows(documents, tokenizer, 64)
    lower = rows._replace(tokens=probes.lowercased(rows.tokens, tokenizer))
    read = lambda variables: probes.language_signals(
        model, variables, rows.causal(), lowercase=lower.causal(), zlib_bytes=probes.zlib_bytes(rows.tokens, tokenizer)
    )
    audit.from_signals(read(fine_tuned), member, references={"pretrained": read(pretrained)}).html("audit.html")
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax import checks
from gecko_jax.probes.token_losses import check_rows, token_losses
from gecko_jax.signals.lowercase_ratio import loss_per_lowercase_loss
from gecko_jax.signals.min_k import lowest_mean
from gecko_jax.signals.neighborhood import loss_above_neighbors
from gecko_jax.signals.zlib_ratio import loss_per_zlib_byte
from gecko_jax.types import Array, Examples, Model, Variables

SHARE = 0.2  # of the tokens: min_20_probability


def language_signals(
    model: Model,
    variables: Variables,
    rows: Examples | Sequence[Examples],
    *,
    lowercase: Examples | Sequence[Examples] | None = None,
    zlib_bytes: Array | None = None,
    neighbors: Sequence[Examples | Sequence[Examples]] = (),
    ensemble: bool = False,
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """Reads the signals of n texts off a language model, or off each of an ensemble.

    Args:
      model: token rows [b, t] -> logits [b, t, vocabulary].
      variables: its variables; with a leading axis of models if `ensemble`.
      rows: Examples of the n texts, x and y int [n, t], y negative where a token does not count: `Rows.causal()` or
        `Rows.masked(seed)` of `datasets.text`. A list of them, under several masks, is read as one longer text.
      lowercase: the same of the texts in lower case (`lowercased`), for "lowercase_ratio".
      zlib_bytes: [n] lengths of the compressed texts (`probes.zlib_bytes`), for "zlib_ratio".
      neighbors: the same of k neighbors of every text (`probes.neighbors`), for "neighborhood".
      ensemble: whether the variables are of several models.
      batch_size: rows in one call.

    Returns:
      name of a signal -> float64 [n], or [m, n] of an ensemble: "sequence_loss" and "min_20_probability", and what the
      other arguments allow.

    Raises:
      ValueError: see `token_losses`; texts that differ in number.

    >>> import jax
    >>> from gecko_jax import models
    >>> model = models.create("transformer", 8, layers=1, width=8, heads=1, max_length=4)
    >>> rows = Examples(np.array([[3, 4, 5], [5, 4, 3]]), np.array([[4, 5, 6], [4, -1, -1]]))
    >>> values = language_signals(model, jax.jit(model.init)(jax.random.key(0), rows.x), rows, zlib_bytes=[14, 9])
    >>> sorted(values), values["sequence_loss"].shape
    (['min_20_probability', 'sequence_loss', 'zlib_ratio'], (2,))
    """

    def losses(name: str, examples: Examples | Sequence[Examples]) -> tuple[np.ndarray, np.ndarray]:
        """(-log p of each token [..., n, t], whether it counts [n, t])."""
        parts = [examples] if isinstance(examples, Examples) else list(examples)
        read, counts = [], []
        for part in checks.not_empty(name, parts):
            x, y = check_rows(part.x, part.y, f"{name}.")
            read.append(token_losses(model, variables, x, y, ensemble, batch_size))
            counts.append(y >= 0)
            checks.shape(f"{name}.x", x, (len(counts[0]), None))
        return np.concatenate(read, -1), np.concatenate(counts, -1)

    def mean(name: str, examples: Examples | Sequence[Examples]) -> np.ndarray:
        read, counts = losses(name, examples)
        return read.sum(-1) / counts.sum(-1)

    of_tokens, counts = losses("rows", rows)
    loss = of_tokens.sum(-1) / counts.sum(-1)
    values = {"sequence_loss": loss, "min_20_probability": lowest_mean(of_tokens, counts, SHARE)}
    if lowercase is not None:
        values["lowercase_ratio"] = loss_per_lowercase_loss(loss, mean("lowercase", lowercase))
    if zlib_bytes is not None:
        values["zlib_ratio"] = loss_per_zlib_byte(loss, zlib_bytes)
    if len(neighbors):
        others = [mean(f"neighbors[{k}]", each) for k, each in enumerate(neighbors)]
        values["neighborhood"] = loss_above_neighbors(loss, np.stack(others))
    return values
