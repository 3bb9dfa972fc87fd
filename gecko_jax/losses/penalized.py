"""Outputs of a model that adds a penalty of its own to the loss, such as one on the ranges of its activations.

In training such a model returns `Penalized` in place of its outputs, with one penalty for each example. The gradient
functions, plain and private, add it to the example's loss; a metric sees the outputs alone. In evaluation the model
returns its outputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from gecko_jax.types import Array, Batch, Loss


class Penalized(NamedTuple):
    """What a model with a penalty returns in training.

    Attributes:
      outputs: the model's outputs, a pytree with one leading axis [b, ...].
      penalty: [b], of each example.
    """

    outputs: Any
    penalty: Array


def penalized_loss(loss: Loss, outputs: Any, example: Batch) -> Array:
    """Returns one example's loss with the penalty, if the model has one.

    Args:
      loss: a per-example loss.
      outputs: of one example, as the model returned them.
      example: Batch without its leading axis.

    >>> loss = Loss("own", lambda outputs, example: outputs * 2)
    >>> penalized_loss(loss, 3.0, None), float(penalized_loss(loss, Penalized(3.0, jnp.float32(0.5)), None))
    (6.0, 6.5)
    """
    if not isinstance(outputs, Penalized):
        return loss.apply(outputs, example)
    value = loss.apply(outputs.outputs, example)
    return value + jnp.reshape(outputs.penalty, ()) if jnp.shape(value) == () else value  # which is refused by name


def without_penalty(outputs: Any) -> Any:
    """Returns the outputs that a metric reads.

    Args:
      outputs: as a model returned them.

    >>> without_penalty(Penalized(3.0, 0.5)), without_penalty(3.0)
    (3.0, 3.0)
    """
    return outputs.outputs if isinstance(outputs, Penalized) else outputs
