"""Fine-tuning of the output layer."""

from __future__ import annotations

from gecko_jax.models.fine_tuning.method import FineTuning
from gecko_jax.models.fine_tuning.tied_tables import EMBEDDINGS, Table, training_of

HEADS = r"(^|[/:])(head|logits)/"


def head(path: str | None = None, tied: bool = False) -> FineTuning:
    r"""Trains the output layer alone.

    In a tied model (GPT-2) the output layer's weights are the token embedding, one parameter. To train it moves the
    inputs of the network as well, which is another method in effect: it is done only if you say `tied=True`.

    Args:
      path: a regular expression searched in the parameters' paths; None: a layer "head" or "logits", and in a tied
        model the table "embed" (or "Embed_0", ...).
      tied: whether the model is tied.

    Returns:
      A FineTuning; the model computes the same, and its `init` checks `tied`.

    Raises:
      ValueError: an invalid expression; in `start`, `fit` and whatever else calls the model's init, a path that no
        parameter has, a tied table without `tied=True`, or `tied=True` for a model whose table is not tied. A table is
        tied if `nn.Embed.attend` reads it; a product of your own with the table is not seen.

    Source: Mireshghallah et al., "Memorization in NLP fine-tuning methods", 2022 (arXiv 2205.12506), section 3.

    >>> head().trainable, head(tied=True).trainable
    (('(^|[/:])(head|logits)/',), ('(^|[/:])(embed|Embed_\\d+)/',))
    """
    return training_of(Table("head", path or (EMBEDDINGS if tied else HEADS), tied))
