"""NeuGuard: confidences are drawn to their class's mean, and the two halves of each layer to the same sum."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.tracers import current_trace

from gecko_jax import checks, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.objective import Trained, count_classes, fit_objective, with_state
from gecko_jax.losses.penalized import without_penalty
from gecko_jax.models.trace import kernel_of, layer_input
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables

MEANS = "neuguard_means"  # the collection: each class's running mean confidences, and whether it was seen
MOMENTUM = 0.9


def neuguard(alpha: float = 1.0, beta: float = 100.0) -> Defense:
    """Builds training on loss + alpha * L_boc + beta * L_var.

        L_var   mean over rows and classes of (F(x) - mu_y)^2: F(x) are the confidences, mu_y the running mean of those
                of x's class
        L_boc   mean over rows, summed over layers, of (1 / S) (sum of the first half of the layer's S neurons - sum of
                the second half)^2

    A layer's neurons are what the next one with a kernel reads, after activation and pooling. Those of a convolution
    are halved by their channels. The momentum of mu is 0.9 (ours; the paper's text leaves it open).

    Args:
      alpha: at least 0; the paper's is 100 for Texas, 5 for CIFAR-100 and 30 for CIFAR-10.
      beta: at least 0; the paper's is 3,000, 1,000 and 200.

    Raises:
      ValueError: an argument out of bounds; when it trains, gradients of the caller's, a network without a hidden layer
        or with layers inside nn.jit, nn.remat, nn.scan or nn.vmap.

    Source: Xu et al., "NeuGuard: lightweight neuron-guided defense against membership inference attacks" (ACSAC 2022),
      section 4.

    >>> neuguard(beta=200.0).name
    'neuguard'
    """
    for name, value in {"alpha": alpha, "beta": beta}.items():
        checks.at_least(name, checks.finite(name, value), 0)

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        build = functools.partial(_trained, (float(alpha), float(beta), count_classes(model, data)))
        return fit_objective("neuguard", build, (model, data, member), options)

    return Defense("neuguard", train)


def imbalance(values: Array) -> Array:
    """Returns (1 / S) (sum of the first half - sum of the second half)^2 of a layer's S neurons, [b].

    Args:
      values: [b, ..., channels]; an odd number of channels has the smaller half first.
    """
    channels = jnp.sum(values.reshape(len(values), -1, values.shape[-1]), axis=1)
    half = channels.shape[1] // 2
    neurons = values.size // len(values)
    return (jnp.sum(channels[:, :half], 1) - jnp.sum(channels[:, half:], 1)) ** 2 / neurons


def class_means(state: dict[str, Array], confidences: Array, label: Array, real: Array) -> dict[str, Array]:
    """Returns the running means after a batch: a class that is seen for the first time takes its mean in the batch.

    Args:
      state: {"mean": [classes, classes], "seen": [classes]}.
      confidences: [b, classes].
      label: [b].
      real: bool [b], False for padding.
    """
    one_hot = jax.nn.one_hot(label, len(state["seen"])) * real[:, None]
    count = one_hot.sum(0)
    mean = one_hot.T @ confidences / jnp.maximum(count, 1.0)[:, None]
    weight = jnp.where(state["seen"] > 0, MOMENTUM, 0.0)[:, None]
    moved = weight * state["mean"] + (1 - weight) * mean
    there = count > 0
    return {
        "mean": jnp.where(there[:, None], moved, state["mean"]),
        "seen": jnp.maximum(state["seen"], there.astype(state["seen"].dtype)),
    }


@functools.lru_cache(maxsize=64)
def _trained(
    settings: tuple[float, float, int], model: Model, loss: Loss, trainable: tuple[str, ...] | None
) -> Trained:
    alpha, beta, classes = settings

    def objective(variables: Variables, batch: Batch, real: Array, key: Array):
        (outputs, updates), layers = _with_layers(changed, variables, batch.x, key)
        logits = jnp.where(real[:, None], without_penalty(outputs), 0.0)
        confidences = jax.nn.softmax(logits)
        means = class_means(variables[MEANS], jax.lax.stop_gradient(confidences), batch.y, real)
        spread = jnp.mean((confidences - means["mean"][batch.y]) ** 2, axis=-1)
        balance = jnp.sum(jnp.stack([imbalance(values) for values in layers]), axis=0)
        value = training.mean_loss(loss, outputs, batch, real)
        value += alpha * training.mean_over(real, balance) + beta * training.mean_over(real, spread)
        return value, outputs, {**updates, MEANS: means}

    starts = {MEANS: lambda variables: {"mean": jnp.zeros((classes, classes)), "seen": jnp.zeros(classes)}}
    changed = with_state(model, starts)
    return Trained(changed, training.objective_gradients(objective, loss, trainable), starts)


def _with_layers(model: Model, variables: Variables, x: Any, key: Array) -> tuple[Any, list[Array]]:
    """Returns what the model returns in training, and the inputs of its layers but the first."""
    values: list[Array] = []
    outermost = current_trace()

    def note(next_fun, args, kwargs, context):
        module = context.module
        if context.method_name == "__call__" and kernel_of(module) is not None:
            if current_trace() != outermost:
                raise ValueError(
                    f"the layer {layer_path(module)!r} runs inside nn.jit, nn.remat, nn.scan or nn.vmap, where its "
                    "neurons cannot be read. Write the layers out, or take another defense."
                )
            values.append(layer_input(args, kwargs))
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(note), traced_under(surroundings()):
        result = model.apply(variables, x, key=key, train=True)
    if len(values) < 2:
        raise ValueError("the network has no hidden layer, and NeuGuard balances those. Take another defense.")
    return result, values[1:]
