"""Per-example losses: (logits [classes], example) -> scalar. A new loss: one function and one line in LOSSES.

Not in the table of the losses of a classifier: `squared_error`, for a model with one output, and `soft_binned_ece`, a
loss of a batch: no `Loss`, and none for private training.

The same arguments give the same object (functools.cache), so that fits with equal losses share a compiled program.
"""

from gecko_jax.losses.calibration import soft_binned_ece
from gecko_jax.losses.cross_entropy import cross_entropy
from gecko_jax.losses.distillation import hard_labels, kullback_leibler, symmetric_cross_entropy
from gecko_jax.losses.squared_error import squared_error

LOSSES = {
    "cross_entropy": cross_entropy,
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "kullback_leibler": kullback_leibler,
    "hard_labels": hard_labels,
}

__all__ = [
    "LOSSES",
    "cross_entropy",
    "hard_labels",
    "kullback_leibler",
    "soft_binned_ece",
    "squared_error",
    "symmetric_cross_entropy",
]
