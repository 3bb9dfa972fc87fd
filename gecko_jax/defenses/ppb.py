"""Pair-based posterior balancing: the posteriors of each pair of rows are made alike, for networks that are pruned."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from gecko_jax import checks, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.objective import Trained, count_classes, fit_objective
from gecko_jax.losses.penalized import without_penalty
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables


def ppb(strength: float = 4.0) -> Defense:
    """Builds training on loss + strength * mean over pairs of KL(p_b || p_a), the posteriors of a pair sorted.

    The rows of a batch, padding left out, are cut into two halves; row i of the first and of the second half are a
    pair (a, b). Their logits are sorted from large to small, so that only the shape of the posteriors counts. It is
    meant for fine-tuning a network that is or was pruned: train(models.pruned(model, ...), ..., init=variables).

    Args:
      strength: lambda, above 0; the authors' is 4.

    Raises:
      ValueError: a strength that is not above 0; when it trains, gradients of the caller's, or batches of one row.

    Source: Yuan and Zhang, "Membership inference attacks and defenses in neural network pruning" (USENIX Security 2022,
      arXiv 2202.03335), section 7; the direction of the divergence is that of their code.

    >>> ppb().name
    'ppb'
    """
    strength = float(checks.positive("strength", strength))

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        count_classes(model, data)
        if options.get("sampling") is None:
            checks.integer("batch_size", options.get("batch_size", 64), 2)  # halves of one row hold no pair
        return fit_objective("ppb", functools.partial(_trained, strength), (model, data, member), options)

    return Defense("ppb", train)


def pair_divergence(logits: Array, real: Array) -> Array:
    """Returns the mean over pairs of KL(p_b || p_a) with sorted posteriors; 0 of fewer than two real rows.

    Args:
      logits: [b, classes]; of an odd number of real rows the last one has no partner.
      real: bool [b], False for padding.
    """
    # The halves are those of the real rows: padding would leave few pairs of a small batch, or none.
    place, half = jnp.arange(len(logits)), jnp.sum(real) // 2
    log_p = jax.nn.log_softmax(jnp.sort(logits, axis=-1))[jnp.argsort(~real, stable=True)]
    second = log_p[jnp.minimum(place + half, len(logits) - 1)]
    divergence = jnp.sum(jnp.exp(second) * (second - log_p), axis=-1)
    return training.mean_over(place < half, divergence)


@functools.lru_cache(maxsize=64)
def _trained(strength: float, model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> Trained:

    def objective(variables: Variables, batch: Batch, real: Array, key: Array):
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        logits = jnp.where(real[:, None], without_penalty(outputs), 0.0)
        value = training.mean_loss(loss, outputs, batch, real) + strength * pair_divergence(logits, real)
        return value, outputs, updates

    return Trained(model, training.objective_gradients(objective, loss, trainable), {})
