"""Augmentation multiplicity: several random copies of one example share its one clipped gradient.

Without privacy, augmentation shows another copy at each pass. Here passes cost privacy and copies cost none: the
gradients of the copies are averaged BEFORE the clipping. An example adds as much as before, with less variance.

    augment = privacy.chained(privacy.shift(4), privacy.flip())
    loss = privacy.augmented(privacy.example_loss(model, losses.cross_entropy()), augment, multiplicity=16)

Source: De et al., "Unlocking high-accuracy differentially private image classification through scale" (arXiv
2204.13650), section 3.2, after Hoffer et al., "Augment your batch" (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax import checks
from gecko_jax.keys import stream
from gecko_jax.types import Array

# (key, x) -> x: ONE example, jittable; (key, example) -> example if its attribute `whole_example` is True
Augment = Callable[[Array, Any], Any]


def augmented(loss: Callable[..., Any], augment: Augment, multiplicity: int) -> Callable[..., Any]:
    """Averages the loss over `multiplicity` random copies of one example: its gradient is the mean of theirs.

      l(w, z, key) = 1/K sum_k loss(w, augment(z; key, k); key, k)

    It is a loss of one example like any other: clipping bounds the example together with all its copies, and noise and
    accounting stay the same. Time and memory grow with K.

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, aux): see `clipped_sum`.
      augment: (key, x) -> x, of one example and jittable. `x` is the example's field of that name if it has one (a
        row of a `types.Batch`, the rest of which stays as it is), else the example itself. An augmentation that changes
        labels as well has an attribute `whole_example` = True and is given the example (`training.fresh_masks`).
      multiplicity: K, copies of an example in each step. With 1 and an `augment` that changes nothing, the result is
        that of `loss` to the last bit.

    Returns:
      (variables, example, key) -> scalar, or (scalar, aux) with the mean of every leaf of aux over the copies: for
      `example_loss` the mean metric. It needs a key.

    Raises:
      ValueError: multiplicity below 1; when called, no key.

    Source: De et al. 2022 (arXiv 2204.13650), section 3.2.

    >>> import jax, jax.numpy as jnp
    >>> noisy = augmented(lambda w, x, key: w @ x, lambda key, x: x + jax.random.normal(key, x.shape), 1000)
    >>> bool(abs(noisy(jnp.ones(2), jnp.array([1.0, 2.0]), jax.random.key(0)) - 3.0) < 0.2)
    True
    """
    copies = checks.integer("multiplicity", multiplicity, 1)

    def one(variables, example, key):
        draw = stream(key, "augment")  # `key` itself goes on to the loss, for its dropout
        return loss(variables, augment_example(augment, draw, example), key)

    def mean(variables, example, key=None):
        if key is None:
            raise ValueError("key=None: an augmented loss draws its copies; pass a key, clipped_sum(...)(..., key).")
        if copies == 1:  # a vmap of one would round differently
            return one(variables, example, key)
        results = jax.vmap(lambda i: one(variables, example, jax.random.fold_in(key, i)))(jnp.arange(copies))
        return jax.tree.map(lambda leaf: jnp.mean(leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), 0), results)

    mean.updates = getattr(loss, "updates", None)  # of `example_loss`: what the model carries from step to step
    mean.loss = getattr(loss, "loss", None)
    return mean


def augment_example(augment: Augment, key: Array, example: Any) -> Any:
    """Returns one example after an augmentation of its x, or of the whole example if the augmentation says so.

    Args:
      augment: see `augmented`.
      key: of its draws.
      example: a row of a `types.Batch`, or any pytree.
    """
    if not getattr(augment, "whole_example", False) and hasattr(example, "_replace") and hasattr(example, "x"):
        return example._replace(x=augment(key, example.x))
    return augment(key, example)


def shift(max_pixels: int) -> Augment:
    """Shifts an image by up to `max_pixels` each way, uniformly; the border is filled by reflection.

    Args:
      max_pixels: at least 1, and below height and width.

    Returns:
      (key, x [height, width, channels]) -> x of the same shape.

    Raises:
      ValueError: max_pixels below 1; when called, an image that is not larger, or something that is not an image.

    >>> shift(1)(jax.random.key(0), jnp.ones((4, 4, 1))).shape
    (4, 4, 1)
    """
    most = checks.integer("max_pixels", max_pixels, 1)

    def augment(key, x):
        _check_image("shift", x)
        if most >= min(x.shape[:2]):
            raise ValueError(f"max_pixels={most} must be below height and width of x, whose shape is {x.shape}.")
        wide = jnp.pad(x, ((most, most), (most, most), (0, 0)), mode="reflect")
        top, left = jax.random.randint(key, (2,), 0, 2 * most + 1)
        return lax.dynamic_slice(wide, (top, left, jnp.zeros_like(top)), x.shape)

    return augment


def flip() -> Augment:
    """Flips an image horizontally with probability 1/2.

    Returns:
      (key, x [height, width, channels]) -> x of the same shape.

    >>> image = jnp.arange(3.0).reshape(1, 3, 1)
    >>> flip()(jax.random.key(0), image).ravel().tolist() in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0])
    True
    """

    def augment(key, x):
        _check_image("flip", x)
        return jnp.where(jax.random.bernoulli(key), jnp.flip(x, axis=1), x)

    return augment


def chained(*augmentations: Augment) -> Augment:
    """Applies augmentations one after the other, each with random draws of its own.

    Args:
      *augmentations: each (key, x) -> x.

    Returns:
      (key, x) -> x.

    >>> chained(shift(1), flip())(jax.random.key(0), jnp.ones((4, 4, 1))).shape
    (4, 4, 1)
    """

    def augment(key, x):
        for number, each in enumerate(augmentations):
            x = each(jax.random.fold_in(key, number), x)
        return x

    return augment


def _check_image(name: str, x: Array) -> None:
    if x.ndim != 3:
        raise ValueError(f"{name} takes one image [height, width, channels]; x has shape {x.shape}.")
