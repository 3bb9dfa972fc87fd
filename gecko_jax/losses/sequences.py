"""Cross-entropy of sequences, such as the next tokens of a language model: one loss for a whole sequence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gecko_jax.losses.cross_entropy import label_cross_entropy
from gecko_jax.losses.example_metrics import is_top1
from gecko_jax.losses.shapes import class_numbers, float_outputs
from gecko_jax.types import Array, Batch, Loss, Metric


@functools.cache
def sequence_cross_entropy(padding: int | None = None, mask: str | None = None) -> Loss:
    """Builds the mean over a sequence's steps of -log p(y_t), for logits [t, vocabulary] and tokens y [t].

      l = sum_t m_t (-log softmax(logits_t)[y_t]) / sum_t m_t

    m_t is 0 at padding and 1 elsewhere. A causal language model takes x = tokens[:, :-1] and y = tokens[:, 1:].

    The example whose gradient private training clips is the whole sequence, whatever its length.

    Args:
      padding: the token of y that marks padding, such as 0 or -1. None: no token does.
      mask: key of `example.extra` with m [t], 1 for a step that counts and 0 for padding. None: all steps count.

    Returns:
      A Loss with the metric "token_accuracy": the share of tokens, over all sequences, whose logit is the first of the
      largest. The loss of a sequence without a step that counts is 0; training and evaluation refuse such a sequence.

    Raises:
      ValueError: both `padding` and `mask`.

    >>> from gecko_jax.types import Batch
    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    >>> loss = sequence_cross_entropy(padding=-1)
    >>> round(float(jnp.exp(-loss.apply(logits, Batch(None, jnp.array([0, 0, -1]), None)))), 4)  # root of 1/2 * 1/4
    0.3536
    """
    if padding is not None and mask is not None:
        raise ValueError(f"padding={padding!r} and mask={mask!r}: name one of the two, which says what is padding.")

    def counted(outputs: Any, example: Batch) -> tuple[Array, Array, Array]:
        """(logits [t, vocabulary], tokens [t], m [t])."""
        logits = float_outputs("sequence_cross_entropy", outputs, ("steps", "vocabulary"))
        tokens = class_numbers("sequence_cross_entropy", example.y, logits.shape[:1])
        counts = _counts(tokens, padding, _mask_of(example, mask, logits.shape[:1]))
        return logits, tokens, counts.astype(jnp.promote_types(logits.dtype, jnp.float32))

    def apply(outputs, example):
        logits, tokens, counts = counted(outputs, example)
        logits = logits.astype(counts.dtype)  # a sum over steps in single precision at least
        losses = label_cross_entropy(logits, jnp.where(counts > 0, tokens, 0))
        return jnp.sum(jnp.where(counts > 0, losses, 0)) / jnp.maximum(jnp.sum(counts), 1)

    def hits(outputs, example):
        logits, tokens, counts = counted(outputs, example)
        return jnp.stack([jnp.sum(is_top1(logits, tokens) * counts), jnp.sum(counts)])

    metric = Metric("token_accuracy", hits, lambda means: float(means[0] / means[1]) if means[1] > 0 else float("nan"))
    reads = () if mask is None else (mask,)
    return Loss("sequence_cross_entropy", apply, metric, reads, _check(padding, mask))


def _mask_of(example: Batch, mask: str | None, shape: tuple[int, ...]) -> Any:
    if mask is None:
        return None
    extra = getattr(example, "extra", None) or {}
    if mask not in extra:
        raise ValueError(f"sequence_cross_entropy reads example.extra[{mask!r}]; example.extra has {sorted(extra)}.")
    if jnp.shape(extra[mask]) != shape:
        raise ValueError(f"extra[{mask!r}] has shape {jnp.shape(extra[mask])} for one example; expected {shape}.")
    return extra[mask]


def _counts(tokens: Array, padding: int | None, mask: Array | None) -> Array:
    """Returns whether each step counts: bool [..., t]."""
    if mask is not None:
        return mask > 0
    return tokens != padding if padding is not None else tokens == tokens


def _check(padding: int | None, mask: str | None) -> Callable[[Any, Batch], None]:
    """A `Loss.check`: tokens that count are in the vocabulary, masks are 0 or 1, and each sequence has such a token."""

    def check(outputs: Any, data: Batch) -> None:
        tokens, values = np.asarray(data.y), None if mask is None else np.asarray((data.extra or {})[mask])
        if values is not None and (wrong := np.argwhere(~((values == 0) | (values == 1)))).size:
            index = tuple(int(i) for i in wrong[0])
            raise ValueError(f"extra[{mask!r}] holds {values[index]} at index {index}; expected 1, or 0 for padding.")
        counts = _counts(tokens, padding, values)
        tokens = np.broadcast_to(tokens, counts.shape)  # masks may differ between models
        if not counts.any(-1).all():
            row = int(np.argwhere(~counts.any(-1))[0, -1])
            raise ValueError(f"data.y[{row}] holds padding alone, and no token to learn: leave the sequence out.")
        low, high, size = int(tokens[counts].min()), int(tokens[counts].max()), outputs.shape[-1]
        if low < 0 or high >= size:
            hint = "" if low >= 0 or padding is not None or mask is not None else " Name padding, padding=-1, if it is."
            raise ValueError(f"data.y holds tokens {low} to {high}; the model has logits for 0 to {size - 1}.{hint}")

    return check
