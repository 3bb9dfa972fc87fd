"""Optimizers by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from gecko_jax.checks import lookup, positive

OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
}


@functools.cache
def optimizer(name: str = "adam", learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Returns an optax transformation by name; the same arguments give the same object, and so share compiled programs.

    Args:
      name: "adam", "sgd" or "momentum" (0.9).
      learning_rate: step size, above 0. A schedule is an argument of `fit`: schedules={"learning_rate": cosine}.

    Raises:
      ValueError: an unknown name, or a learning rate that is not above 0.

    >>> optimizer("sgd", 0.1) is optimizer("sgd", 0.1)
    True
    """
    if callable(learning_rate):
        raise ValueError(
            f"learning_rate={learning_rate!r} must be a number. Pass a schedule to fit: "
            "schedules={'learning_rate': training.cosine}, a factor by the share of the run that is done."
        )
    return lookup("optimizer", name, OPTIMIZERS)(positive("learning_rate", learning_rate))


@functools.cache
def masked_momentum(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Makes an optimizer forget the weights that a sparse network has dropped: its averages of theirs become 0.

    A weight is absent if it and its gradient are 0, as those of `models.dynamic_sparse` are. Without this, a weight
    that grows again is moved at first by what it was before.

    Args:
      optimizer: any optax transformation; the same object gives the same object.

    Returns:
      A transformation whose state is the optimizer's.

    Source: Evci et al., 2020 (arXiv 1911.11134), whose code masks the momentum as it does the weights.

    >>> forgets = masked_momentum(optax.sgd(1.0, momentum=0.5))
    >>> state = forgets.init(params := {"kernel": jnp.array([0.0, 1.0])})
    >>> _, state = forgets.update({"kernel": jnp.array([2.0, 2.0])}, state, params)
    >>> updates, _ = forgets.update({"kernel": jnp.array([0.0, 0.0])}, state, params)
    >>> (-updates["kernel"]).tolist()
    [0.0, 1.0]
    """

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("params=None: masked_momentum reads the weights; pass them to the optimizer's update.")
        absent = jax.tree.map(lambda slope, weight: (slope == 0) & (weight == 0), updates, params)
        state = optax.tree_utils.tree_map_params(
            optimizer, lambda moment, gone: jnp.where(gone, 0, moment), state, absent
        )
        return optimizer.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)
