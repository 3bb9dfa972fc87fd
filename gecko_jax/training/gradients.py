"""The gradient of a model's loss as a `GradFn`, the only thing in which private and plain training differ.

A `GradFn` is (variables, batch, key) -> (gradients, StepMetrics). A private one returns clipped and noised gradients of
the same shape and is passed to `fit(gradients=...)` instead of this one. Two attributes are optional:

  loss   the `Loss` that it descends; `fit` takes the metric from it. Without it the GradFn reports a scalar metric.
  live   (variables, batch, key) -> a bool for each parameter, whether it is trained, read off the program. A step
         leaves the others as they are, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from gecko_jax.privacy.augmentation import Augment
from gecko_jax.training.objectives import GradFn, mean_loss, objective_gradients
from gecko_jax.types import Loss, Model


def batch_gradients(
    model: Model, loss: Loss, trainable: Sequence[str] | None = None, augment: Augment | None = None
) -> GradFn:
    """Builds the gradient of the mean loss over a batch's real rows; a row of weight 0 adds nothing.

    The inputs of such a row must be finite, because a gradient multiplies them by 0; its labels need not be classes.

    Args:
      model: any model; it sees the whole batch at once, so BatchNorm is allowed (its statistics are over all rows,
        padding included: see `datasets.batches` for what padding holds).
      loss: a per-example loss, to which a model with a range penalty adds its own.
      trainable: regular expressions of the parameters that are trained, see `fit_ensemble`; the gradient of the others
        is 0 and is not computed.
      augment: a random change of each row in each step (`privacy.flip`, `fresh_masks`); see `privacy.augmented`.

    Returns:
      (variables, batch, key) -> (gradients in the tree of variables["params"], StepMetrics).

    Raises:
      ValueError: when called, for outputs without a row for each example, for outputs and labels that the loss does
        not read, for expressions of `trainable` that are found in no parameter's path, for a batch whose leaves have
        different lengths, and for weights other than 0 and 1. Weights that are traced, and so not known yet, give NaN.

    >>> import jax, numpy as np
    >>> from gecko_jax import losses, models
    >>> from gecko_jax.types import Batch
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((3, 4), np.float32)
    >>> gradients = batch_gradients(model, losses.cross_entropy())
    >>> batch = Batch(x, np.array([0, 1, 1]), np.array([1.0, 1.0, 0.0]))
    >>> slopes, metrics = gradients(model.init(jax.random.key(0), x), batch, None)
    >>> slopes["logits"]["kernel"].shape, float(metrics.count)
    ((4, 2), 2.0)
    """

    def objective(variables, batch, real, key):
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        return mean_loss(loss, outputs, batch, real), outputs, updates

    return objective_gradients(objective, loss, trainable, augment)
