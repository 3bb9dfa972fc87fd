"""Adversarial regularization: the classifier is trained against an attacker that learns beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gecko_jax import checks, training
from gecko_jax.defenses.defense import Defense, check_reference
from gecko_jax.defenses.objective import (
    REFERENCE,
    Trained,
    count_classes,
    fit_objective,
    pair_rows,
    reading_reference,
    reference_of,
    with_state,
)
from gecko_jax.losses.penalized import without_penalty
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables

ATTACKER = "attacker"  # the collection: the attacker's parameters and its optimizer's state


def adversarial_regularization(
    strength: float = 1.0, attacker_steps: int = 7, widths: Sequence[int] = (512, 64), learning_rate: float = 1e-3
) -> Defense:
    """Builds min over the classifier f of loss + strength * max over an attacker h of its gain.

        gain = mean over members of log h(f(x), y) + mean over reference rows of log(1 - h(f(x), y))

    In each step the attacker climbs its gain `attacker_steps` times on the batch and as many reference rows; then the
    classifier takes a step down loss + strength * log h of its members. The attacker's non-members are reference rows,
    never rows that are evaluated. It reads posteriors in evaluation mode, which is what is released.

    Args:
      strength: lambda, above 0; the paper takes 1 to 3 (Purchase, Texas) and 6 (CIFAR).
      attacker_steps: how many steps the attacker takes before each step of the classifier.
      widths: of the attacker's layers on posteriors; the last one is also that of its layer on the label.
      learning_rate: of the attacker's Adam.

    Raises:
      ValueError: an argument out of bounds; when it trains, no reference rows or unlabeled ones, or gradients of the
        caller's.

    Source: Nasr, Shokri and Houmansadr, "Machine learning with membership privacy using adversarial regularization"
      (2018, arXiv 1807.05852), algorithm 1.

    >>> adversarial_regularization(strength=3.0).reads
    ('reference',)
    """
    strength = float(checks.positive("strength", strength))
    learning_rate = float(checks.positive("learning_rate", learning_rate))
    steps = checks.integer("attacker_steps", attacker_steps, 1)
    widths = checks.not_empty("widths", checks.sizes("widths", widths, "the widths of the attacker's layers"))

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        rows, classes = check_reference("adversarial_regularization", reference, data), count_classes(model, data)
        _check_labels(np.asarray(rows.y), classes)
        settings = (strength, steps, widths, learning_rate, classes)
        build = functools.partial(_trained, settings)
        return fit_objective("adversarial_regularization", build, (model, data, member), options, pair_rows(rows, data))

    return Defense("adversarial_regularization", train, reads=(REFERENCE,))


class Attacker(nn.Module):
    """Tells members by posteriors and labels.

    Attributes:
      widths: see `adversarial_regularization`.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, posteriors: Array, label: Array) -> Array:
        """Returns logits [b] of membership, for posteriors [b, classes] and labels [b]."""
        seen = posteriors
        for width in self.widths:
            seen = nn.relu(nn.Dense(width)(seen))
        one_hot = jax.nn.one_hot(label, posteriors.shape[-1])
        both = jnp.concatenate([seen, nn.Dense(self.widths[-1])(one_hot)], axis=-1)
        return nn.Dense(1)(nn.relu(nn.Dense(self.widths[-1])(both)))[:, 0]


def attacker_loss(of_members: Array, of_others: Array, real: Array) -> Array:
    """Returns minus the attacker's gain, from its logits on members and on reference rows [b].

    Args:
      of_members, of_others: logits of membership [b].
      real: bool [b], False for padding.
    """
    gain = jax.nn.log_sigmoid(of_members) + jax.nn.log_sigmoid(-of_others)
    return -training.mean_over(real, gain)


def _check_labels(label: np.ndarray, classes: int) -> None:
    """Raises ValueError unless the labels of the reference rows are class numbers, which the attacker reads."""
    if label.ndim != 1 or label.dtype.kind not in "iu" or label.min() < 0 or label.max() >= classes:
        raise ValueError(
            f"reference.y has dtype {label.dtype}, shape {label.shape} and values {label.min()} to {label.max()}; "
            f"expected class numbers, 0 to {classes - 1}. The attacker would know unlabeled rows by their labels: "
            "label them, or take a defense that reads no labels of them, such as dmp."
        )


@functools.lru_cache(maxsize=64)
def _trained(settings: tuple, model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> Trained:
    strength, steps, widths, learning_rate, classes = settings
    attacker, optimizer = Attacker(widths), optax.adam(learning_rate)

    def start(variables: Variables) -> dict[str, Any]:
        del variables
        params = attacker.init(jax.random.key(0), jnp.zeros((1, classes)), jnp.zeros(1, jnp.int32))
        return {"params": params, "optimizer": optimizer.init(params)}

    def logits_of(params: Any, posteriors: Array, label: Array) -> Any:
        return attacker.apply(params, posteriors, label)

    def climb(state: dict[str, Any], members: Array, others: Array, labels: tuple[Array, Array], real: Array):
        def minus_gain(params):
            return attacker_loss(logits_of(params, members, labels[0]), logits_of(params, others, labels[1]), real)

        def step(state, _):
            updates, optimizer_state = optimizer.update(jax.grad(minus_gain)(state["params"]), state["optimizer"])
            return {"params": optax.apply_updates(state["params"], updates), "optimizer": optimizer_state}, None

        return jax.lax.scan(step, state, length=steps)[0]

    def objective(variables: Variables, batch: Batch, real: Array, key: Array):
        fixed, others = jax.lax.stop_gradient(variables), reference_of(batch)
        members = _posteriors(changed, fixed, batch.x)
        labels = (batch.y, others["y"])
        state = climb(variables[ATTACKER], members, _posteriors(changed, fixed, others["x"]), labels, real)
        outputs, updates = changed.apply(variables, batch.x, key=key, train=True)
        seen = logits_of(state["params"], jax.nn.softmax(without_penalty(outputs)), batch.y)
        gain = training.mean_over(real, jax.nn.log_sigmoid(seen))
        value = training.mean_loss(loss, outputs, batch, real) + strength * gain
        return value, outputs, {**updates, ATTACKER: state}

    starts = {ATTACKER: start}
    changed = with_state(model, starts)
    return Trained(changed, training.objective_gradients(objective, reading_reference(loss), trainable), starts)


def _posteriors(model: Model, variables: Variables, x: Any) -> Array:
    return jax.nn.softmax(model.apply(variables, x)[0])
