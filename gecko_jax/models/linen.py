"""From a Flax module to a `Model`: two pure functions, whatever the module calls its training switch."""

from __future__ import annotations

import inspect

import flax.linen as nn

from gecko_jax.types import Model

# How modules in the wild spell it; True is the value that means "not training" for the second group.
_TRAINING = ("train", "training", "is_training")
_EVALUATING = ("deterministic", "use_running_average", "eval_mode")

# Collections that a training schedule sets, not the forward pass.
FIXED = ("params", "transition")


def _switch(module: nn.Module, train: bool) -> dict[str, bool]:
    names = inspect.signature(type(module).__call__).parameters
    for name in _TRAINING:
        if name in names:
            return {name: train}
    for name in _EVALUATING:
        if name in names:
            return {name: not train}
    return {}


def from_linen(module: nn.Module) -> Model:
    """A model from any Linen module that maps a batch x [b, ...] to logits [b, classes].

    A training switch named train, training, is_training, deterministic, use_running_average or eval_mode is passed on;
    dropout draws from `key`.

    Args:
      module: an unbound module instance.

    Raises:
      TypeError: for anything but a Linen module.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> model = from_linen(nn.Dense(3))
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> model.apply(variables, jnp.ones((2, 4)))[0].shape
    (2, 3)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}; from_linen takes an instance of flax.linen.Module.")

    def init(key, x):
        return module.init(key, x, **_switch(module, False))

    def apply(variables, x, *, key=None, train=False):
        rngs = {} if key is None else {"dropout": key}
        mutable = [name for name in variables if name not in FIXED] if train else []
        if not mutable:
            return module.apply(variables, x, rngs=rngs, **_switch(module, train)), {}
        logits, updates = module.apply(variables, x, rngs=rngs, mutable=mutable, **_switch(module, train))
        return logits, updates

    return Model(init, apply)
