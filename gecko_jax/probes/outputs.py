"""Outputs of classifiers as logits: probabilities in any encoding, one output of a binary model, predicted labels.

Every signal is a function of log probabilities, so all of these become log probabilities, up to a constant in each row.
Probabilities that are taken for logits would be squeezed by a second softmax towards 1 / classes, and no figure would
show why. So outputs that may be probabilities are never taken for logits: an error asks what they are.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.calibration import MAX_ROUNDING, as_probabilities, sum_tolerance
from gecko_jax.types import Array

OUTPUTS = ("logits", "probabilities", "labels")  # of a classifier
OTHER_OUTPUTS = ("tokens", "numbers")  # of a language model, of a regression
PROBABILITY_SCALES = (100, 127, 128, 255, 256, 1000, 10_000, 32_767, 65_535)  # of rounded probabilities
MAX_LOGARITHM_MISS = 0.01  # by which sums may miss 1 if logarithms are rounded, as by bfloat16
MAX_SUM_DIFFERENCE = 1e-5  # relative, of sums of rows: what adding up in float32 may lose
MAX_NONNEGATIVE_LOGIT = 20  # one output that is larger somewhere, and below 0 for no record, is not a logit
LABEL_KINDS = "biuUSO"  # of dtype: one of these for each record is a predicted label, not a score


def as_logits(name: str, array: Array, outputs: str = "logits", known: bool = False) -> np.ndarray:
    """Returns outputs of models as logits [..., n, c].

    Args:
      name: what an error calls them.
      array: logits or probabilities [..., n, c]; of a binary model with one output also [n] or [..., n, 1], the logit
        z or the probability p of class 1, which become (0, z) and (log(1 - p), log p).
      outputs: which of the two: "logits" or "probabilities". Log probabilities are logits. Probabilities are
        renormalized if they miss a sum of 1 by a rounding (`metrics.calibration.sum_tolerance`).
      known: whether the kind was already told from more of the outputs: a few logits may lie in 0..1 by chance.

    Raises:
      ValueError: rows that are not what `outputs` says they are, NaN, or another shape.

    >>> as_logits("outputs", np.array([[-1.0, 2.0]])).tolist()
    [[-1.0, 2.0]]
    >>> as_logits("outputs", np.array([0.5]), "probabilities").round(3).tolist()
    [[-0.693, -0.693]]
    """
    checks.one_of("outputs", outputs, OUTPUTS[:2])
    array = _numbers(name, array)
    one = array.ndim == 1 or array.shape[-1] == 1
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected (..., records, classes), two classes or more.")
    if outputs == "probabilities":
        probs = as_probabilities(name, np.concatenate([1 - array.astype(np.float64), array], -1) if one else array)
        with np.errstate(divide="ignore"):
            if one:
                return np.concatenate([np.log1p(-array.astype(np.float64)), np.log(probs[..., 1:])], -1)
            return np.log(probs) - np.log(probs.sum(-1, keepdims=True))
    if np.isnan(array).any() or np.isposinf(array).any():
        raise ValueError(f"{name} hold NaN or +inf; a diverged model cannot be audited.")
    if not known:
        _refuse_probabilities(name, array)
    return np.concatenate([np.zeros_like(array), array], -1) if one else array


def pair(array: np.ndarray, outputs: str) -> np.ndarray:
    """Returns one output of a binary model, [n] or [n, 1], as two, [n, 2]: (0, z), or (1 - p, p).

    >>> pair(np.array([0.25]), "probabilities").tolist()
    [[0.75, 0.25]]
    """
    array = _numbers("output of predict", array).reshape(-1, 1)
    return np.concatenate([np.zeros_like(array) if outputs == "logits" else 1 - array, array], 1)


def labels_as_logits(name: str, labels: Array, classes: int) -> np.ndarray:
    """Returns predicted labels [..., n] as log probabilities [..., n, c]: 0 for the label, -inf for the others.

    >>> labels_as_logits("labels", [1], 2).tolist()
    [[-inf, 0.0]]
    """
    with np.errstate(divide="ignore"):
        return np.log(np.arange(classes) == as_labels(name, labels, classes)[..., None])


def as_labels(name: str, labels: Array, classes: int) -> np.ndarray:
    """Returns predicted labels as int64 of the same shape.

    Raises:
      ValueError: labels that are not class numbers in 0..classes-1.

    >>> as_labels("labels", [0.0, 2.0], 3).tolist()
    [0, 2]
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu" and not (labels.dtype.kind == "f" and (labels == np.rint(labels)).all()):
        raise ValueError(f"{name} has dtype {labels.dtype}; expected a class number for each record.")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{name} are labels that run from {labels.min()} to {labels.max()}; expected 0..{classes - 1}, the classes "
            "of y. Say all of the model's classes: classes=."
        )
    return labels


def are_labels(array: Array) -> bool:
    """Returns whether an array [..., n] or [..., n, 1] holds predicted labels: integers, bool or text, and not scores.

    >>> are_labels(np.array([0, 2])), are_labels(np.array([0.5, 0.1]))
    (True, False)
    """
    array = np.asarray(array)
    return (array.ndim == 1 or array.shape[-1] == 1) and array.dtype.kind in LABEL_KINDS


def check_guessed(labels: np.ndarray, y: Array, classes: list | None) -> None:
    """Raises ValueError if integers that nobody called labels go beyond the two classes of y: bytes, or logits."""
    guessed = classes is None and labels.dtype.kind in "iu" and np.asarray(y).dtype.kind in "biu" and np.max(y) <= 1
    if guessed and (labels.min() < 0 or labels.max() > 1):
        raise ValueError(
            f"outputs are one integer for each record, {labels.min()} to {labels.max()}, and y has the classes 0 "
            "and 1: say outputs='labels' if they are predicted labels, divide bytes by 255 and say "
            "outputs='probabilities', or give logits as floats."
        )


def check_binary(name: str, array: Array, y: np.ndarray) -> None:
    """Raises ValueError if a model has one output for a record, and there are more classes than two."""
    shape = np.shape(array)
    if (len(shape) == 1 or shape[-1] == 1) and np.asarray(y).dtype.kind in "iu" and np.max(y) > 1:
        raise ValueError(
            f"{name} has shape {shape}, one output for each record, and y runs to {np.max(y)}; expected (records, "
            "classes). One output is of a model of two classes, 0 and 1; of predicted labels, say outputs='labels'."
        )


def _numbers(name: str, array: Array) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind == "V" and "float" in array.dtype.name:  # bfloat16: foreign to NumPy, and usual
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; expected real numbers.")
    return array


def _refuse_probabilities(name: str, array: np.ndarray) -> None:
    """Raises ValueError for outputs [..., n, k] that look like probabilities, scaled, shifted or rounded however.

    If all are 0 they pass: that is not a distribution, and as logits all classes are equally likely.
    """
    wide, classes = array.astype(np.float64), array.shape[-1]
    low, high = wide.min(), wide.max()
    if low == high == 0:
        return
    sums, tolerance = wide.sum(-1), sum_tolerance(classes)
    if low >= -MAX_ROUNDING and high <= 1 + MAX_ROUNDING and (low >= 0 or np.abs(sums - 1).max() <= tolerance):
        beyond = "" if classes == 1 or np.abs(sums - 1).max() <= tolerance else (
            f" Their rows sum to {sums.min():.4g}..{sums.max():.4g}, and must sum to 1 but for a rounding by "
            f"{tolerance:.2g}: divide each by its sum if they are scores of their own, or give all classes."
        )  # fmt: skip
        raise ValueError(
            f"{name} are probabilities, because every entry lies in 0..1: say outputs='probabilities' (in a file of "
            f"predictions, name them 'probs').{beyond}"
        )
    if classes == 1 and low >= 0 and high > MAX_NONNEGATIVE_LOGIT:
        raise ValueError(
            f"{name} are not logits of a binary model, because none is below 0 and they run to {high:.4g}: divide them "
            "by 100 (percent) or 255 (bytes) and say outputs='probabilities'; if they are logits all the same, give "
            "two columns, 0 and the logit."
        )
    if classes == 1 or sums.size < 2:
        return

    def sum_to(sums, scale=1.0, miss=tolerance):
        return np.abs(sums / scale - 1).max() <= miss

    if low >= 0 and sum_to(np.exp(-wide).sum(-1)):
        raise ValueError(f"{name} are negative log probabilities, because exp(-{name}) sums to 1: give them negated.")
    # Log probabilities are logits; so are logits less the largest of their row, whose largest is 0 in every row.
    of_logarithms = high <= 0 and not sum_to(np.exp(wide).sum(-1)) and wide.max(-1).any()
    for base in (2, 10):
        if of_logarithms and sum_to(np.power(float(base), wide).sum(-1), miss=MAX_LOGARITHM_MISS):
            raise ValueError(
                f"{name} are log probabilities to the base {base}, because {base}**{name} sums to 1: multiply them by "
                f"np.log({base})."
            )
    shift = 128 if array.dtype == np.int8 else 0
    of_scale = [scale for scale in PROBABILITY_SCALES if low + shift >= 0 and sum_to(sums + shift * classes, scale)]
    alike = np.ptp(sums) <= MAX_SUM_DIFFERENCE * np.abs(sums).max() and (wide != wide[..., :1, :]).any()
    if of_scale or (low >= 0 and alike):  # votes of a forest
        scale = of_scale[0] if of_scale else sums.flat[0]
        how = f"add {shift} and divide by {scale:g}" if shift else f"divide them by {scale:g}"
        raise ValueError(
            f"{name} are probabilities times {scale:g}, because no entry is below {-shift} and every row sums alike: "
            f"{how}, and say outputs='probabilities'."
        )
    if alike and low >= -1 and high <= 1 and np.abs(sums).min() > MAX_SUM_DIFFERENCE:
        raise ValueError(
            f"{name} are probabilities that were shifted, because they lie in -1..1 and every row sums to "
            f"{sums.flat[0]:.4g}: undo that, so that rows sum to 1, and say outputs='probabilities'."
        )
