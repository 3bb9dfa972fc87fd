"""RelaxLoss: the mean loss of training is raised to that of other records, and posteriors are flattened."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from gecko_jax import checks, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.objective import Trained, count_classes, fit_objective, with_state
from gecko_jax.losses.penalized import without_penalty
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables

PHASE = "relaxloss_phase"  # the collection: 0 in the first, third, ... epoch, and 1 in the others


def relaxloss(alpha: float = 0.5, upper: float = 1.0) -> Defense:
    """Builds training that holds a batch's mean loss L near alpha.

        odd epochs (the first one, ...):  |L - alpha|, which is gradient ascent below alpha
        even epochs:                      L above alpha; below it, cross-entropy with a flattened target, which gives
                                          the label min(p_y, upper) and each other class an equal share of the rest

    The target is a constant: no gradient flows through p_y. (The authors' code lets it flow.)

    Args:
      alpha: the mean loss to hold, above 0; the authors' is 0.8 for Purchase and 2.5 for Texas, of 100 classes each.
      upper: of the label's probability in a flattened target, above 0 and at most 1; theirs is 0.3 and 0.1 there.

    Raises:
      ValueError: an argument out of bounds; when it trains, gradients of the caller's.

    Source: Chen, Yu and Fritz, "RelaxLoss: defending membership inference attacks without losing utility" (ICLR 2022,
      arXiv 2207.05801), algorithm 1.

    >>> relaxloss(alpha=0.8, upper=0.3).name
    'relaxloss'
    """
    alpha = float(checks.positive("alpha", alpha))
    if not 0 < upper <= 1:
        raise ValueError(f"upper={upper!r} must be above 0 and at most 1: a probability of the label.")

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        count_classes(model, data)
        epochs = checks.integer("epochs", options.get("epochs", DEFAULT_EPOCHS), 1)
        phases = {PHASE: _alternating(epochs)}

        def build(*network) -> Trained:
            return _trained((alpha, float(upper)), *network)._replace(schedules=phases)

        return fit_objective("relaxloss", build, (model, data, member), {**options, "epochs": epochs})

    return Defense("relaxloss", train)


DEFAULT_EPOCHS = 10  # of fit_ensemble


def _alternating(epochs: int):
    """Returns a schedule that is 0 in the first epoch, 1 in the second, 0 in the third, ..."""
    return lambda share: float(round(share * epochs) % 2)


def flattened_cross_entropy(logits: Array, label: Array, upper: float) -> Array:
    """Returns the cross-entropy [b] with flattened targets: min(p_y, upper) for the label, equal shares for the rest.

    Args:
      logits: [b, classes].
      label: [b].
      upper: see `relaxloss`.
    """
    classes, log_p = logits.shape[-1], jax.nn.log_softmax(logits)
    one_hot = jax.nn.one_hot(label, classes)
    of_label = jnp.minimum(jnp.sum(jnp.exp(log_p) * one_hot, -1, keepdims=True), upper)
    target = jax.lax.stop_gradient(one_hot * of_label + (1 - one_hot) * (1 - of_label) / (classes - 1))
    return -jnp.sum(target * log_p, -1)


@functools.lru_cache(maxsize=64)
def _trained(settings: tuple[float, float], model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> Trained:
    alpha, upper = settings

    def objective(variables: Variables, batch: Batch, real: Array, key: Array):
        outputs, updates = changed.apply(variables, batch.x, key=key, train=True)
        mean = training.mean_loss(loss, outputs, batch, real)
        logits = jnp.where(real[:, None], without_penalty(outputs), 0.0)
        flat = training.mean_over(real, flattened_cross_entropy(logits, batch.y, upper))
        first = variables[PHASE]["phase"] < 0.5
        return jnp.where(first, jnp.abs(mean - alpha), jnp.where(mean > alpha, mean, flat)), outputs, updates

    starts = {PHASE: lambda variables: {"phase": jnp.float32(0)}}
    changed = with_state(model, starts)
    return Trained(changed, training.objective_gradients(objective, loss, trainable), starts)
