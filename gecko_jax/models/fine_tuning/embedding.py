"""Fine-tuning of the token embedding."""

from __future__ import annotations

from gecko_jax.models.fine_tuning.method import FineTuning
from gecko_jax.models.fine_tuning.tied_tables import EMBEDDINGS, Table, training_of


def embedding(path: str | None = None, tied: bool = False) -> FineTuning:
    """Trains the token embedding alone.

    Args:
      path: a regular expression searched in the parameters' paths; None: the table "embed" (or "Embed_0", ...), not
        that of the positions.
      tied: whether the output layer reads the same table, so that it is trained as well; see `head`.

    Returns:
      A FineTuning; the model computes the same, and its `init` checks `tied`.

    Raises:
      ValueError: as of `head`.

    >>> embedding(path="^words/").trainable
    ('^words/',)
    """
    return training_of(Table("embedding", path or EMBEDDINGS, tied))
