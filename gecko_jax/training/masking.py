"""Masked language modeling with fresh masks: each step hides other tokens of a row, which the model has to tell."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gecko_jax.checks import in_range, integer
from gecko_jax.privacy.augmentation import Augment
from gecko_jax.types import Array, Batch


def fresh_masks(
    mask: int, rate: float = 0.15, keep: float = 0.0, random: float = 0.0, words: tuple[int, int] | None = None
) -> Augment:
    """Builds the augmentation that hides tokens of a row, other ones each time that it is called.

      x_t = mask, y_t = token_t at the chosen positions; x_t = token_t, y_t = -1 at all others

    max(1, round(rate * tokens)) positions of each row are chosen, uniformly among those whose y is not negative. It is
    passed as `batch_gradients(model, loss, augment=...)` or `privacy.private_training(..., augment=...)`, with the data
    x = token rows and y = the same rows with -1 at padding, and `losses.sequence_cross_entropy(padding=-1)`. With
    multiplicity=K, a private step averages the gradients of K masks of each row before the clipping. For evaluation,
    take masks that are fixed for each record (`datasets.text`'s `Rows.masked`), which several models then share.
    A row whose y are not its own tokens (the next ones, of a causal model's rows) gets tokens beyond any vocabulary, so
    that the loss is NaN and the training stops.

    Args:
      mask: the token that stands for a hidden one.
      rate: share of a row's tokens that is chosen, above 0 and at most 1.
      keep, random: shares of the chosen positions whose x stays, or is a random word; BERT's are 0.1 and 0.1.
      words: (first, last + 1) of the tokens that random words are drawn from; needed if random > 0.

    Returns:
      (key, example) -> example, for ONE `types.Batch` row with x and y int [t].

    Raises:
      ValueError: an argument out of its bounds; random without words. When called, x and y of different shapes.

    Source: Devlin et al. 2019, "BERT", section 3.1.

    >>> import numpy as np
    >>> row = np.array([5, 6, 7, 8, 0], np.int32)
    >>> hidden = fresh_masks(mask=1, rate=0.5)(jax.random.key(0), Batch(row, np.where(row > 0, row, -1), None))
    >>> int((hidden.x == 1).sum()), np.asarray(jnp.where(hidden.y >= 0, hidden.y, hidden.x)).tolist()
    (2, [5, 6, 7, 8, 0])
    """
    mask = integer("mask", mask, 0)
    if not 0 < rate <= 1:
        raise ValueError(f"rate={rate!r} must be above 0 and at most 1.")
    in_range("keep", keep, 0, 1)
    in_range("random", random, 0, 1)
    if keep + random > 1:
        raise ValueError(f"keep={keep!r} and random={random!r} are shares of the same positions; expected a sum of 1.")
    if random > 0 and (words is None or not 0 <= words[0] < words[1]):
        raise ValueError(f"random={random!r} with words={words!r}; expected (first, last + 1) of the random words.")

    def hide(key: Array, example: Batch) -> Batch:
        if not (hasattr(example, "x") and hasattr(example, "y")):
            raise ValueError("fresh_masks takes a row with x and y, and is not chained with augmentations of x alone.")
        x, y = jnp.asarray(example.x), jnp.asarray(example.y)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"x has shape {x.shape} and y {y.shape} for one row; expected tokens [t] in both.")
        is_other = ((y >= 0) & (x != y)).any()  # values are not known while tracing
        chances, kinds, replaced = jax.random.split(key, 3)
        order = jnp.where(y >= 0, jax.random.uniform(chances, x.shape), 2.0)
        count = jnp.maximum(1, jnp.round(rate * (y >= 0).sum()).astype(jnp.int32))
        chosen = (jnp.argsort(jnp.argsort(order)) < count) & (y >= 0)
        kind = jax.random.uniform(kinds, x.shape)
        shown = jnp.full_like(x, mask)
        if words is not None and random > 0:
            shown = jnp.where(kind < random, jax.random.randint(replaced, x.shape, *words, dtype=x.dtype), shown)
        shown = jnp.where(kind >= 1 - keep, x, shown)
        shown = jnp.where(is_other, jnp.iinfo(x.dtype).max, jnp.where(chosen, shown, x))
        return example._replace(x=shown, y=jnp.where(chosen, y, -1))

    hide.whole_example = True
    return hide
