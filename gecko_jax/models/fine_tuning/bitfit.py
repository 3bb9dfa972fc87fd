"""Fine-tuning of the biases alone."""

from __future__ import annotations

from gecko_jax.models.fine_tuning.method import FineTuning

BIASES = r"(^|/)bias$"


def bitfit() -> FineTuning:
    """Trains the biases of all layers and normalizations, and nothing else.

    Returns:
      A FineTuning that leaves the model as it is. A model without a bias is refused when it is trained, because no path
      ends in "bias".

    Source: Ben Zaken, Goldberg and Ravfogel, "BitFit: Simple parameter-efficient fine-tuning for transformer-based
    masked language-models", ACL 2022 (arXiv 2106.10199), section 3.

    >>> bitfit().trainable
    ('(^|/)bias$',)
    """
    return FineTuning("bitfit", lambda model: model, (BIASES,), merge=lambda variables: variables)
