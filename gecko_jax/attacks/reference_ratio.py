"""The reference ratio: a fine-tuned model's loss beside that of a reference, such as its own pre-trained copy."""

from __future__ import annotations

import dataclasses

from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.loss import loss
from gecko_jax.signals import reference_ratio_signal


def reference_ratio(reference: str | None = None, form: str = "difference") -> Attack:
    """Scores loss under the reference - loss under the target: the log of a likelihood ratio.

    A record that is easy for every model has a small loss under both, and training explains only the difference.
    `audit.from_signals(..., references=...)` takes the references' losses. It shows what each reference tells by
    itself, too: one that tells members apart without the target makes the ratio do so, whatever the target learnt.

    Args:
      reference: the name of one; None for the mean over all of them.
      form: "difference" of the losses, or their "quotient": see `signals.reference_ratio_signal`.

    Raises:
      ValueError: an unknown form, or a reference that is not a name.

    Source: Mireshghallah et al., "Memorization in NLP Fine-tuning Methods" (2022), sec. 3.1; "Quantifying Privacy
    Risks of Masked Language Models Using Membership Inference Attacks" (2022), eq. 3.

    >>> reference_ratio().name, reference_ratio("pretrained").needs
    ('reference_ratio', ('references',))
    """
    signal = reference_ratio_signal(reference, form)
    return dataclasses.replace(loss(signal), name=signal.name, on=None)
