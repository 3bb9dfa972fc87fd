"""L2 regularization: a gradient that pulls every weight towards 0."""

from __future__ import annotations

import functools

import jax
import optax

from gecko_jax import checks, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.types import Array, Examples, Model


def l2(weight_decay: float = 5e-4) -> Defense:
    """Builds training on loss + (weight_decay / 2) sum of w^2 over all weights of two axes or more.

    The term's gradient, weight_decay * w, goes through the optimizer like the loss's, as PyTorch's weight_decay does;
    biases and normalizations are left out. It reads no data, so that it composes with private gradients.

    Args:
      weight_decay: above 0.

    Raises:
      ValueError: a weight_decay that is not above 0.

    Source: as a defense, Shokri et al., arXiv 1610.05820, section VIII.

    >>> l2(1e-3).name
    'l2'
    """
    weight_decay = float(checks.positive("weight_decay", weight_decay))

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        optimizer = options.pop("optimizer", None) or training.optimizer()
        return training.fit_ensemble(model, data, member, optimizer=_decaying(optimizer, weight_decay), **options)

    return Defense("l2", train)


@functools.lru_cache(maxsize=64)
def _decaying(optimizer: optax.GradientTransformation, weight_decay: float) -> optax.GradientTransformation:
    """Returns one object for an optimizer and a strength, because fits with the same object share their programs."""

    def weights(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.chain(optax.add_decayed_weights(weight_decay, weights), optimizer)
