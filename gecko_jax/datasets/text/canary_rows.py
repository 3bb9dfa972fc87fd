"""The rows on which a model shows whether it knows the fills of canaries."""

from __future__ import annotations

import numpy as np

from gecko_jax.datasets.text.canary_templates import Canaries
from gecko_jax.datasets.text.documents import from_texts
from gecko_jax.datasets.text.rows import IGNORED, rows
from gecko_jax.datasets.text.tokenization import Tokenizer
from gecko_jax.types import Examples


def examples(canaries: Canaries, tokenizer: Tokenizer, length: int, causal: bool = True) -> Examples:
    """Returns the rows of all canaries, in which the fill alone is predicted.

    The sum of a row's losses is -log p(fill | prefix), in nats, which a rank compares; a mean over tokens would favor
    fills of more tokens. Of a masked model it is the sum of -log p of each token of the fill, all of them masked.

    Args:
      canaries: of `draw`.
      tokenizer: that the training rows were made with.
      length: tokens of a row, as of the training rows.
      causal: whether the model is causal (x = tokens[:, :-1], y = tokens[:, 1:]) or sees masks (x, y of all tokens).

    Returns:
      Examples of k rows, y int32 with -1 at the prefix and at padding; id are the canaries'.

    Raises:
      ValueError: canaries of more tokens than `length`, or a prefix without a token of its own.

    >>> from gecko_jax.datasets import text
    >>> planted = text.canaries.draw("code", ladder=(1,), each=1, references=3, seed=0)
    >>> x, y, _ = examples(planted, text.bytes_tokenizer(), length=40)
    >>> x.shape, (y >= 0).sum(1).tolist()
    ((4, 39), [6, 6, 6, 6])
    """
    longest = max(len(tokenizer.encode(each)) for each in canaries.text)
    if longest > length:
        raise ValueError(f"a canary has {longest} tokens, more than length={length}; lengthen rows, or shorten fills.")
    tokens = rows(from_texts(canaries.text, ids=canaries.id), tokenizer, length).tokens
    fill = (np.arange(length) >= _fill_starts(canaries, tokenizer, tokens)[:, None]) & (tokens != tokenizer.padding)
    y = np.where(fill, tokens, IGNORED).astype(np.int32)
    if causal:
        return Examples(tokens[:, :-1], y[:, 1:], canaries.id)
    return Examples(np.where(fill, tokenizer.mask, tokens).astype(np.int32), y, canaries.id)


def _fill_starts(canaries: Canaries, tokenizer: Tokenizer, tokens: np.ndarray) -> np.ndarray:
    """Returns the place of the first token of each row that the prefix alone does not have [k].

    A tokenizer may join the prefix's last blank with the fill's first character; that token is the fill's. Canaries of
    one prefix get one place, so that the same text is given to all of them.
    """
    starts: dict[str, int] = {}
    for prefix, row in zip(canaries.prefix, tokens, strict=True):
        alone = np.array(tokenizer.encode(prefix), np.int64)[: len(row)]
        same = alone == row[: len(alone)]
        place = len(alone) if same.all() else int(same.argmin())
        starts[prefix] = min(place, starts.get(prefix, place))
    if min(starts.values()) < 1:
        raise ValueError("the prefix has no token of its own, behind which the fill could be predicted; lengthen it.")
    return np.array([starts[prefix] for prefix in canaries.prefix])
