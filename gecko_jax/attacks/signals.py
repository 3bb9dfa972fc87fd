"""Signals: what an attacker reads off a model's logits, one number a record. NumPy, float64, exact in the tails.

Each is a pure function (logits [..., n, c], y [n]) -> [..., n]; those in VECTORS give several numbers a record.
Logarithms are taken of sums over the other classes, never of a rounded p or 1 - p (log(p + 1e-45)), so that the loss or
entropy of a confident record (p = 1 - 1e-30) keeps its rank; the probabilities themselves tie at 1 - 1e-16. A logit of
-inf (probability 0) is allowed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

TOP = 3  # posteriors
TEMPERATURE = 2.0  # of the soft loss


def _logsumexp(values: np.ndarray) -> np.ndarray:
    """log sum exp over the last axis; -inf where every entry is."""
    top = values.max(-1, keepdims=True)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(-1)) + top[..., 0]


def _checked(logits: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """(logits float64 [..., n, c], the label's column as an index [..., n, 1])."""
    logits, y = np.asarray(logits, np.float64), np.asarray(y)
    if logits.ndim < 2 or logits.shape[-1] < 2:
        raise ValueError(
            f"logits has shape {logits.shape}; expected (..., records, classes) with two classes or more. "
            "A single logit z of a binary model is the pair (0, z)."
        )
    checks.shape("y", y, logits.shape[-2:-1])
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected class numbers, not one-hot rows or floats.")
    classes = logits.shape[-1]
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(f"y runs from {y.min()} to {y.max()}; expected 0..{classes - 1}.")
    if np.isnan(logits).any() or np.isposinf(logits).any() or np.isneginf(logits).all(-1).any():
        raise ValueError("logits hold NaN, +inf, or a row of -inf alone; a diverged model cannot be audited.")
    return logits, np.broadcast_to(y[:, None], (*logits.shape[:-1], 1))


def _at(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, column, -1)[..., 0]


def _without(values: np.ndarray, column: np.ndarray, filler: float) -> np.ndarray:
    """A copy with one column of each row overwritten."""
    values = values.copy()
    np.put_along_axis(values, column, filler, -1)
    return values


def confidence(logits: Array, y: Array) -> np.ndarray:
    """Largest probability, max_k p_k (Salem et al. 2019). y is not read.

    >>> confidence([[0.0, 0.0]], [1]).tolist()
    [0.5]
    """
    logits, _ = _checked(logits, y)
    return np.exp(logits.max(-1) - _logsumexp(logits))


def true_confidence(logits: Array, y: Array) -> np.ndarray:
    """The label's probability, p_y."""
    return np.exp(-loss(logits, y))


def loss(logits: Array, y: Array) -> np.ndarray:
    """Cross-entropy -log p_y = log(1 + exp(-phi)), nats (Yeom et al. 2018). inf where p_y is 0.

    Through phi, not logsumexp(z) - z_y: that difference is 0 below 1e-16 of the logits and ties all confident records.
    """
    return np.logaddexp(0.0, -phi(logits, y))


def soft_loss(logits: Array, y: Array) -> np.ndarray:
    """The loss at temperature 2, -log softmax(z / 2)_y: confident records keep more of their differences."""
    return loss(np.asarray(logits, np.float64) / TEMPERATURE, y)


def phi(logits: Array, y: Array) -> np.ndarray:
    """Logit-scaled confidence z_y - logsumexp_{k != y} z_k = log(p_y / (1 - p_y)) (Carlini et al. 2022, sec. VI-A).

    +inf where every other probability is 0, -inf where p_y is.

    >>> phi([[3.0, 1.0]], [0]).tolist()
    [2.0]
    """
    logits, column = _checked(logits, y)
    return _at(logits, column) - _logsumexp(_without(logits, column, -np.inf))


def entropy(logits: Array, y: Array) -> np.ndarray:
    """Entropy of the posterior, -sum_k p_k log p_k, nats. y is not read."""
    logits, _ = _checked(logits, y)
    p, log_p, _ = _posterior(logits)
    return -(p * np.where(p > 0, log_p, 0.0)).sum(-1)


def modified_entropy(logits: Array, y: Array) -> np.ndarray:
    """-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i), nats (Song and Mittal 2021, eq. 8).

    0 for certainty in the label, inf for certainty in another class.
    """
    logits, column = _checked(logits, y)
    p, _, log_rest = _posterior(logits)
    wrong = np.where(p > 0, p * log_rest, 0.0)
    others = _without(p, column, 0.0).sum(-1)  # 1 - p_y without cancellation
    with np.errstate(invalid="ignore"):
        right = np.where(others > 0, others * loss(logits, y), 0.0)
    return right - _without(wrong, column, 0.0).sum(-1)


def correct(logits: Array, y: Array) -> np.ndarray:
    """1 where the largest logit (the first, on a tie) is the label's, else 0."""
    logits, column = _checked(logits, y)
    return (logits.argmax(-1) == column[..., 0]).astype(np.float64)


def top_posteriors(logits: Array, y: Array) -> np.ndarray:
    """The three largest probabilities, falling, [..., n, 3] (of two classes, both). y is not read."""
    logits, _ = _checked(logits, y)
    return -np.sort(-_posterior(logits)[0], axis=-1)[..., :TOP]


def labelled_posteriors(logits: Array, y: Array) -> np.ndarray:
    """The probabilities, and the label's one-hot row behind them, [..., n, 2 c]."""
    logits, column = _checked(logits, y)
    label = np.zeros(logits.shape)
    np.put_along_axis(label, column, 1.0, -1)
    return np.concatenate([_posterior(logits)[0], label], axis=-1)


def hinge(logits: Array, y: Array) -> np.ndarray:
    """z_y - max_{k != y} z_k: above 0 where the prediction is right. inf where every other probability is 0."""
    logits, column = _checked(logits, y)
    return _at(logits, column) - _without(logits, column, -np.inf).max(-1)


def _posterior(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(p, log p, log(1 - p)), each [..., n, c].

    Only the largest p can be near 1, where log(1 - p) and log p cancel; there both come from the rest of the row.
    """
    top = logits.argmax(-1)[..., None]
    log_p = logits - _logsumexp(logits)[..., None]
    rest = _logsumexp(_without(logits, top, -np.inf))[..., None]
    margin = np.take_along_axis(logits, top, -1) - rest
    np.put_along_axis(log_p, top, -np.logaddexp(0.0, -margin), -1)
    p = np.exp(log_p)
    log_rest = np.log1p(-_without(p, top, 0.0))
    np.put_along_axis(log_rest, top, -np.logaddexp(0.0, margin), -1)
    return p, log_p, log_rest


SIGNALS: dict[str, Callable[[Array, Array], np.ndarray]] = {
    "confidence": confidence,
    "correct": correct,
    "entropy": entropy,
    "hinge": hinge,
    "labelled_posteriors": labelled_posteriors,
    "loss": loss,
    "modified_entropy": modified_entropy,
    "phi": phi,
    "soft_loss": soft_loss,
    "top_posteriors": top_posteriors,
    "true_confidence": true_confidence,
}
# Those of several numbers a record, [..., n, *shape]: the shape, from the number of classes.
VECTORS: dict[str, Callable[[int], tuple[int]]] = {
    "labelled_posteriors": lambda classes: (2 * classes,),
    "top_posteriors": lambda classes: (min(classes, TOP),),
}
# What only the model itself can tell, and not its logits: read by an audit (gecko_jax.audit.probes), not here. For each
# the axes that one record has: () for a number, else their names.
PROBED: dict[str, tuple[str, ...]] = {
    "label_robustness": (),  # share of moved copies that are still given the true label
    "boundary_distance": (),  # L2 distance to the nearest input found with another label
    "small_gradient": (),  # minus the norm of the gradient of the record's loss
    "layer_gradients": ("leaf",),  # minus the log of that norm, for each parameter leaf
    "white_box": ("part", "value"),  # posteriors, one-hot label, loss, log gradient norms of the leaves; 0 behind them
    "sensitivity": ("part", "class"),  # posteriors, their sensitivity to a small change of the input, one-hot label
    "hinge_on_record": ("feature",),  # the hinge, and behind it features of the record itself
}


# What must be there to read them.
NEEDS: dict[str, str] = {
    "label_robustness": "queries",
    "boundary_distance": "queries",
    "small_gradient": "gradients",
    "layer_gradients": "gradients",
    "white_box": "gradients",
    "sensitivity": "queries",
    "hinge_on_record": "records",
}


def axes_of(name: str) -> int:
    """How many axes one record has in this signal: 0 for a number."""
    return len(PROBED[name]) if name in PROBED else int(name in VECTORS)
