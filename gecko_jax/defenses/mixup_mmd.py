"""MixupMMD: training on mixed rows, with posteriors of members drawn towards those of reference rows."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

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
)
from gecko_jax.keys import stream
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables


def mixup_mmd(strength: float = 3.0, concentration: float = 1.0, bandwidth: float = 1.0) -> Defense:
    """Builds mixup's loss + strength * MMD^2 of members' and reference rows' posteriors.

        mixup    rows a x_i + (1 - a) x_j of a random partner j, with the loss a l(y_i) + (1 - a) l(y_j); a is drawn
                 from Beta(concentration, concentration) for each batch
        MMD^2    mean k(p, p') + mean k(q, q') - 2 mean k(p, q) over the batch's posteriors p and those q of as many
                 reference rows of the same classes, k(p, q) = exp(-|p - q|^2 / (2 bandwidth^2)); no gradient flows
                 through q, and both are posteriors in evaluation mode

    The authors' code takes the two in separate passes, and the second one only while training accuracy is 3 points
    above that on reference rows; here each step descends their sum. `Fit.metrics` are of mixed rows.

    Args:
      strength: of the MMD, above 0; the authors' default is 3.
      concentration: of the Beta distribution, above 0; the authors' is 1.
      bandwidth: of the kernel, above 0; the authors' is 1.

    Raises:
      ValueError: an argument out of bounds; when it trains, no reference rows or none of some class, inputs that are
        not real numbers and cannot be mixed, or gradients of the caller's.

    Source: Li, Li and Ribeiro, "Membership inference attacks and defenses in classification models" (CODASPY 2021,
      arXiv 2002.12062), section 5.

    >>> mixup_mmd(strength=1.0).reads
    ('reference',)
    """
    numbers = {"strength": strength, "concentration": concentration, "bandwidth": bandwidth}
    settings = tuple(float(checks.positive(name, value)) for name, value in numbers.items())

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        rows = check_reference("mixup_mmd", reference, data)
        count_classes(model, data)
        for name, leaf in named_leaves(data.x):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(
                    f"data.x{name and f'[{name!r}]'} has dtype {leaf.dtype}, and mixup adds shares of two rows. Pass "
                    "real numbers (data.x.astype(np.float32)), or take a defense that does not mix."
                )
        build = functools.partial(_trained, settings)
        return fit_objective("mixup_mmd", build, (model, data, member), options, pair_rows(rows, data, by_class=True))

    return Defense("mixup_mmd", train, reads=(REFERENCE,))


def squared_mmd(p: Array, q: Array, real: Array, bandwidth: float) -> Array:
    """Returns the biased estimate of the squared maximum mean discrepancy of two sets of vectors.

    Args:
      p, q: [b, classes].
      real: bool [b]: rows of both that count.
      bandwidth: of the Gaussian kernel.
    """
    share = real / jnp.maximum(jnp.sum(real.astype(p.dtype)), 1.0)

    def mean_kernel(a: Array, b: Array) -> Array:
        squares = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
        return share @ jnp.exp(-squares / (2 * bandwidth**2)) @ share

    return mean_kernel(p, p) + mean_kernel(q, q) - 2 * mean_kernel(p, q)


@functools.lru_cache(maxsize=64)
def _trained(settings: tuple[float, ...], model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> Trained:
    strength, concentration, bandwidth = settings

    def objective(variables: Variables, batch: Batch, real: Array, key: Any):
        share = jax.random.beta(stream(key, "mixup", "share"), concentration, concentration)
        partners = jax.random.permutation(stream(key, "mixup", "partners"), len(real))
        partners = jnp.where(real[partners], partners, jnp.arange(len(real)))  # padding is nobody's partner
        mixed = jax.tree.map(lambda leaf: _mix(share, leaf, leaf[partners]), batch.x)
        outputs, updates = model.apply(variables, mixed, key=key, train=True)
        first, second = (training.mean_loss(loss, outputs, each, real) for each in (batch, take(batch, partners)))
        members, others = (jax.nn.softmax(model.apply(variables, x)[0]) for x in (batch.x, reference_of(batch)["x"]))
        distance = squared_mmd(members, jax.lax.stop_gradient(others), real, bandwidth)
        return share * first + (1 - share) * second + strength * distance, outputs, updates

    return Trained(model, training.objective_gradients(objective, reading_reference(loss), trainable), {})


def _mix(share: Array, first: Any, second: Any) -> Array:
    return (share * first + (1 - share) * second).astype(first.dtype)
