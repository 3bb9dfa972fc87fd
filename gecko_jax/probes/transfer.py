"""Adversarial examples that are made on one model, and how many of them fool another one."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.metrics import clopper_pearson
from gecko_jax.models import input_gradients
from gecko_jax.probes.records import check_classes, check_inputs
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Estimate, Model, Variables

ROWS_PER_CALL = 256


def adversarial_examples(
    model: Model,
    variables: Variables,
    x: Array,
    y: Array,
    radius: float,
    steps: int = 10,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """Returns inputs near x on which the model's loss is large, by projected sign gradients in the maximum norm.

      x_0 = x,   x_{k+1} = clip(x_k + (2.5 radius / steps) sign(d CE(f(x_k), y) / dx), to the ball and to the bounds)

    Args:
      model, variables: the model that they are made on, whose weights the attacker has.
      x: inputs [n, ...], floats.
      y: their labels [n].
      radius: largest change of an entry, in the unit of x, above 0.
      steps: at least 1; one step of at most the radius is the fast gradient sign method.
      bounds: smallest and largest value that an entry may take.

    Returns:
      float32 [n, ...].

    Raises:
      ValueError: arguments out of bounds, inputs outside the bounds.

    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks" (ICLR 2018), without a random
      start.

    >>> linear = Model(None, lambda variables, x, **_: (x @ variables["w"], {}))
    >>> adversarial_examples(linear, {"w": jnp.eye(2)}, np.full((1, 2), 0.5), [0], radius=0.25).tolist()
    [[0.25, 0.75]]
    """
    x = check_inputs(x).astype(np.float32)
    logits = jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], variables, x[:1])
    y = check_classes(y, len(x), logits.shape[-1]).astype(np.int32)
    checks.positive("radius", radius)
    checks.integer("steps", steps, 1)
    low, high = bounds
    if not low < high or x.min() < low or x.max() > high:
        raise ValueError(f"bounds={bounds!r} must hold all of x, which runs {x.min():g}..{x.max():g}.")
    settings = (float(radius), int(steps), float(low), float(high))
    walk = functools.partial(_walk, model, settings, jax.device_put(variables))
    return by_blocks(lambda rows: walk(x[rows], y[rows]), len(x), min(len(x), ROWS_PER_CALL), full=True)


def transfer_rate(clean: Array, adversarial: Array, y: Array) -> Estimate:
    """Returns the share of the records that a model classifies rightly until they are changed, with its interval.

    Args:
      clean, adversarial: the attacked model's logits [n, classes] on the inputs, and on those made on another model.
      y: [n] labels.

    Raises:
      ValueError: arrays of other shapes, logits that are NaN or infinite, labels that are not class numbers; no record
        that is classified rightly before.

    >>> transfer_rate(np.eye(2)[[0, 0, 1]], np.eye(2)[[0, 1, 1]], [0, 0, 0]).value
    0.5
    """
    clean = checks.finite("clean", checks.shape("clean", np.asarray(clean), (None, None)))
    adversarial = checks.finite("adversarial", checks.shape("adversarial", np.asarray(adversarial), clean.shape))
    y = check_classes(y, *clean.shape)
    right = clean.argmax(-1) == y
    if not (count := int(right.sum())):
        raise ValueError("clean: the model classifies no record rightly, and none can be turned. Pass other records.")
    fooled = int((adversarial[right].argmax(-1) != y[right]).sum())
    low, high = clopper_pearson(fooled, count)
    return Estimate(fooled / count, float(low), float(high), n=count)


@functools.partial(surroundings.jit, static_argnums=(0, 1))
def _walk(model: Model, settings: tuple[float, int, float, float], variables: Any, x: Any, y: Any) -> Any:
    radius, steps, low, high = settings
    length = min(radius, 2.5 * radius / steps)

    def step(_, moved):
        slopes = input_gradients(model, variables, moved, y)
        moved = jnp.clip(moved + length * jnp.sign(slopes), x - radius, x + radius)
        return jnp.clip(moved, low, high)

    return jax.lax.fori_loop(0, steps, step, jnp.asarray(x))
