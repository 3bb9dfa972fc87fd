"""Per-example losses: (outputs of one example, example) -> scalar. A new loss: one function and one line in LOSSES.

A loss names the metric that training and evaluation report beside it: accuracy for classes, RMSE for numbers, token
accuracy for sequences. Another one: loss._replace(metric=macro_f1()). A loss of your own is a
`types.Loss(name, apply)`; its outputs and labels may be any pytrees.

`CLASS_LOSSES` are the losses of a classifier with logits [classes]. `soft_binned_ece` is a loss of a batch: it is not a
`Loss` and cannot be used in private training.

The same arguments give the same object (functools.cache), so that fits with equal losses share a compiled program.
"""

from gecko_jax.losses.annealed_hinge import annealed_hinge
from gecko_jax.losses.binary import binary_cross_entropy
from gecko_jax.losses.class_weights import balanced_class_weights
from gecko_jax.losses.cross_entropy import cross_entropy
from gecko_jax.losses.distillation import agreement, hard_labels, kullback_leibler, symmetric_cross_entropy
from gecko_jax.losses.example_metrics import accuracy, label_accuracy, macro_f1, metric_of, r2, rmse
from gecko_jax.losses.label_smoothing import smoothed_cross_entropy
from gecko_jax.losses.over_exits import over_exits
from gecko_jax.losses.sequences import sequence_cross_entropy
from gecko_jax.losses.soft_binned_ece import soft_binned_ece
from gecko_jax.losses.squared_error import squared_error

CLASS_LOSSES = {
    "cross_entropy": cross_entropy,
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "kullback_leibler": kullback_leibler,
    "hard_labels": hard_labels,
    "smoothed_cross_entropy": smoothed_cross_entropy,
}

LOSSES = {
    **CLASS_LOSSES,
    "binary_cross_entropy": binary_cross_entropy,
    "sequence_cross_entropy": sequence_cross_entropy,
    "squared_error": squared_error,
}

__all__ = [
    "CLASS_LOSSES",
    "LOSSES",
    "accuracy",
    "agreement",
    "annealed_hinge",
    "balanced_class_weights",
    "binary_cross_entropy",
    "cross_entropy",
    "hard_labels",
    "kullback_leibler",
    "label_accuracy",
    "macro_f1",
    "metric_of",
    "over_exits",
    "r2",
    "rmse",
    "sequence_cross_entropy",
    "smoothed_cross_entropy",
    "soft_binned_ece",
    "squared_error",
    "symmetric_cross_entropy",
]
