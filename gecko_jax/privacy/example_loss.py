"""The loss of one example, from a model and a per-example loss: what private gradients differentiate."""

from __future__ import annotations

import jax

from gecko_jax.losses import metric_of
from gecko_jax.losses.penalized import penalized_loss, without_penalty
from gecko_jax.privacy.per_example.clipped import LossFn
from gecko_jax.privacy.per_example.states import carried_states, check_states
from gecko_jax.trees import outputs_by_row, take
from gecko_jax.types import Batch, Loss, Model


def example_loss(model: Model, loss: Loss) -> LossFn:
    """Turns a model and a loss into (variables, example, key) -> (loss, metric), for one row of a `types.Batch`.

    Args:
      model: any model whose rows do not see each other.
      loss: a per-example loss, of `gecko_jax.losses` or your own, to which a model with a range penalty adds its own.
        Its metric is the second result.

    Returns:
      (variables, example, key=None) -> (loss, metric), with attributes `loss` and `updates`.

    Raises:
      ValueError: when called, for a model with statistics over the batch (BatchNorm), whose gradients have no bounded
        share for each example, naming the layers; for outputs without a row for each example; for outputs and labels
        that the loss does not read.

    State that the forward pass changes without reading the example, such as the power iteration of nn.SpectralNorm, is
    carried from step to step: `private_gradients` gets it from the returned function's attribute `updates`. Values that
    layers only `sow` belong to one example, and are dropped.

    >>> import jax.numpy as jnp
    >>> from gecko_jax import losses, models
    >>> model, x = models.create("mlp", 2, hidden=(3,)), jnp.ones(4)
    >>> of_one = example_loss(model, losses.cross_entropy())
    >>> loss, correct = of_one(model.init(jax.random.key(0), x[None]), Batch(x, jnp.int32(1), None))
    >>> loss.shape, float(correct) in (0.0, 1.0)
    ((), True)
    """
    metric = metric_of(loss)

    def apply(variables, example: Batch, key=None):
        x = jax.tree.map(lambda leaf: leaf[None], example.x)
        outputs, updates = model.apply(variables, x, key=key, train=True)
        check_states(model, variables, x, key, updates)
        outputs = take(outputs_by_row(outputs, 1), 0)
        scored = jax.lax.stop_gradient(without_penalty(outputs))
        return penalized_loss(loss, outputs, example), metric.apply(scored, example)

    apply.loss = loss
    apply.updates = lambda variables, batch, key: carried_states(model, variables, take(batch.x, slice(0, 1)), key)
    return apply
