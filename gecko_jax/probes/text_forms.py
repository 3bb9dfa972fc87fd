"""Other forms of token rows, which a language model's loss on them is compared with: lower case, and zlib's length."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def lowercased(tokens: Array, tokenizer: Any, length: int | None = None) -> np.ndarray:
    """Returns the tokens of the same texts in lower case.

    Args:
      tokens: int [n, t], padded on the right.
      tokenizer: of `datasets.text`, with `encode`, `decode` and `padding`.
      length: tokens of a row, at least 1; t if None. A text that needs more in lower case is cut there.

    Returns:
      int32 [n, length], padded on the right. A row whose text is a single token in lower case keeps its own tokens:
      one token alone predicts nothing.

    Raises:
      ValueError: tokens of another shape; a length below 1.

    >>> from gecko_jax.datasets import text
    >>> tokenizer = text.bytes_tokenizer()
    >>> tokenizer.decode(lowercased([tokenizer.encode("Dr. ABE")], tokenizer)[0])
    'dr. abe'
    """
    tokens = checks.shape("tokens", np.asarray(tokens), (None, None))
    width: int = tokens.shape[1] if length is None else checks.integer("length", length, 1)
    result = np.full((len(tokens), width), tokenizer.padding, np.int32)
    for row, upper, text in zip(result, tokens, _texts(tokens, tokenizer), strict=True):
        lower = tokenizer.encode(text.lower())
        lower = (upper[upper != tokenizer.padding] if len(lower) < 2 else lower)[:width]
        row[: len(lower)] = lower
    return result


def zlib_bytes(tokens: Array, tokenizer: Any) -> np.ndarray:
    """Returns the length of each text's zlib-compressed UTF-8, int64 [n] bytes.

    Args:
      tokens: int [n, t], padded on the right.
      tokenizer: of `datasets.text`, with `decode` and `padding`.

    Raises:
      ValueError: tokens of another shape.

    >>> from gecko_jax.datasets import text
    >>> tokenizer = text.bytes_tokenizer()
    >>> zlib_bytes([tokenizer.encode("a" * 26), tokenizer.encode("qwertyuiopasdfghjklzxcvbnm")], tokenizer)
    array([11, 34])
    """
    tokens = checks.shape("tokens", np.asarray(tokens), (None, None))
    lengths = [len(zlib.compress(text.encode())) for text in _texts(tokens, tokenizer)]
    return np.array(lengths, np.int64)


def _texts(tokens: np.ndarray, tokenizer: Any) -> Iterable[str]:
    decode: Callable[[Any], str] = tokenizer.decode
    return (decode(row[row != tokenizer.padding]) for row in tokens)
