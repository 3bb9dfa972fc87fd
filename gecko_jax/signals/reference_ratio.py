"""The reference ratio: how much likelier a record is under a reference model than under the target, as a logarithm."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array

FORMS = ("difference", "quotient")


def against_reference(loss: Array, reference: Array, form: str = "difference") -> np.ndarray:
    """Returns loss - reference, or loss / reference, [..., n] in the order of losses; members have the smaller one.

      difference:  log p(x | reference) - log p(x | target), if the loss is a negative log-likelihood
      quotient:    log p(x | target) / log p(x | reference)

    Infinite losses are replaced by the ends of the finite ones. A quotient by 0 is 1 if both are 0.

    Args:
      loss: [..., n] of the target, or of several models.
      reference: [n] of a model that was trained on none of the records.
      form: "difference" or "quotient".

    Raises:
      ValueError: an unknown form; a quotient of losses below 0.

    Source: Mireshghallah et al., "Quantifying Privacy Risks of Masked Language Models Using Membership Inference
    Attacks" (2022), eq. 3; the quotient is Carlini et al. (2021), sec. 5.2, "small".

    >>> against_reference([1.0, 2.0], [3.0, 2.0]).tolist(), against_reference([1.0], [4.0], "quotient").tolist()
    ([-2.0, 0.0], [0.25])
    """
    checks.one_of("form", form, FORMS)
    loss, reference = np.asarray(loss, np.float64), np.asarray(reference, np.float64)
    finite = np.concatenate([part[np.isfinite(part)].reshape(-1) for part in (loss, reference)] + [[0.0]])
    loss, reference = (np.clip(part, finite.min(), finite.max()) for part in (loss, reference))
    reference = np.broadcast_to(reference, loss.shape)
    if form == "difference":
        return loss - reference
    return quotient("loss", loss, reference)


def quotient(name: str, loss: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns loss / other, 1 if both are 0 and a large number if `other` alone is.

    Args:
      name: what an error calls the values.
      loss, other: of one shape, at least 0.

    Raises:
      ValueError: a value below 0, of which a quotient has no order.

    >>> quotient("loss", np.array([0.0, 1.0]), np.array([0.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    smallest = min(loss.min(initial=0.0), other.min(initial=0.0))
    if smallest < 0:
        raise ValueError(f"{name} runs down to {smallest:.4g}; a quotient needs losses of at least 0.")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.minimum(loss / other, np.finfo(np.float64).max)
    return np.where(loss == other, 1.0, ratio)


def reference_ratio_signal(reference: str | None = None, form: str = "difference") -> Signal:
    """Returns the signal of a named reference, or of the mean over all of them if it is None.

    Args:
      reference: its name, a key of `references` in `audit.from_signals`.
      form: "difference" or "quotient" of the losses: see `against_reference`.

    Raises:
      ValueError: a name that is not a str, or is empty; an unknown form.

    >>> reference_ratio_signal("pretrained").name, reference_ratio_signal(form="quotient").name
    ('reference_ratio_pretrained', 'reference_quotient')
    """
    checks.one_of("form", form, FORMS)
    if reference is not None and (not isinstance(reference, str) or not reference):
        raise ValueError(f"reference={reference!r} must be the name of a reference model, such as 'pretrained'.")
    name = "reference_ratio" if form == "difference" else "reference_quotient"
    return Signal(name if reference is None else f"{name}_{reference}", larger="nonmembers", needs=("references",))


reference_ratio = reference_ratio_signal()
