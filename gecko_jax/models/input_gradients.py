"""The gradient of a loss with respect to each input: the direction in which an adversarial example moves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.losses import cross_entropy
from gecko_jax.types import Array, Batch, Loss, Model, Variables


def input_gradients(model: Model, variables: Variables, x: Any, y: Any, loss: Loss | None = None) -> Array:
    """Returns d loss(f(x_i), y_i) / d x_i of each row, in evaluation mode; it can be traced and differentiated.

    Args:
      model: any model that computes each row by itself in evaluation mode.
      variables: of one model.
      x: inputs, one array of floats [b, ...].
      y: labels [b].
      loss: a per-example loss of labels; None: cross-entropy.

    Returns:
      [b, ...], of the shape of x.

    Raises:
      ValueError: inputs that are not one array of floats.

    >>> linear = Model(None, lambda variables, x, **_: (x @ variables["w"], {}))
    >>> input_gradients(linear, {"w": jnp.eye(2)}, jnp.zeros((1, 2)), jnp.array([0])).tolist()  # p - [k = y]
    [[-0.5, 0.5]]
    """
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
        kind = getattr(x, "dtype", type(x).__name__)
        raise ValueError(f"x is {kind}; expected one array of floats, to take its gradient. Embed tokens first.")
    loss = cross_entropy() if loss is None else loss

    def total(x):
        outputs, _ = model.apply(variables, x, train=False)
        return jnp.sum(jax.vmap(loss.apply)(outputs, Batch(x, y, None)))

    return jax.grad(total)(jnp.asarray(x))
