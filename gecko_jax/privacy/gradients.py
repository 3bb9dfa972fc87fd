"""From a per-example loss and a clipping rule to a private `GradFn`, the only thing that `fit` has to be given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.clippings.trial import try_rule
from gecko_jax.hooks import with_collection
from gecko_jax.losses import metric_of
from gecko_jax.privacy.noise import gaussian
from gecko_jax.privacy.noise_trial import try_noise
from gecko_jax.privacy.per_example.clipped import LossFn, clipped
from gecko_jax.privacy.per_example.paths import trained_leaves
from gecko_jax.privacy.per_example.rows import by_row
from gecko_jax.privacy.per_example.sites import single
from gecko_jax.privacy.per_example.states import carried_states, check_states
from gecko_jax.privacy.per_example.weights import check_weights, weight_of
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.trees import outputs_by_row, row_count, select_leaves, take, trainable_patterns, with_leaves
from gecko_jax.types import AdaptiveClipping, Array, Batch, Clipping, Loss, Model, StepMetrics, Variables

THRESHOLD = "clipping"  # the collection that holds an adaptive rule's threshold
PRIVATE_SCOPE = "privacy.private_gradients"  # around the noise, by which a function that wraps them is known


class PrivateSettings(NamedTuple):
    """What a private GradFn was built with, for `training.fit` to compare with what it is told.

    Attributes:
      noise_multiplier: standard deviation of the noise over the clipping's sensitivity.
      expected_batch_size: what the noised sum is divided by.
      trainable: expressions of the parameters that are trained, or None for all.
      sampling: the Sampling that the run was priced for, or None if that is not known.
    """

    noise_multiplier: float
    expected_batch_size: float
    trainable: tuple[str, ...] | None = None
    sampling: Sampling | None = None


def example_loss(model: Model, loss: Loss) -> LossFn:
    """(variables, example, key) -> (loss, metric), of one row of a `types.Batch`.

    Args:
      model: any model whose rows do not see each other.
      loss: a per-example loss, of `gecko_jax.losses` or your own. Its metric is the second result.

    Raises:
      ValueError: when called, for a model with statistics over the batch (BatchNorm), whose gradients have no bounded
        share for each example, naming the layers; for outputs without a row for each example; for outputs and labels
        that the loss does not read.

    What the forward pass changes without reading the example, such as the power iteration of nn.SpectralNorm, is
    carried from step to step: `private_gradients` asks the returned function's attribute `updates` for it. Values that
    layers only `sow` are each example's own, and are dropped.
    """
    metric = metric_of(loss)

    def apply(variables, example: Batch, key=None):
        x = jax.tree.map(lambda leaf: leaf[None], example.x)
        outputs, updates = model.apply(variables, x, key=key, train=True)
        check_states(model, variables, x, key, updates)
        outputs = take(outputs_by_row(outputs, 1), 0)
        return loss.apply(outputs, example), metric.apply(jax.lax.stop_gradient(outputs), example)

    apply.loss = loss
    apply.updates = lambda variables, batch, key: carried_states(model, variables, take(batch.x, slice(0, 1)), key)
    return apply


def with_threshold(model: Model, clipping: AdaptiveClipping) -> Model:
    """The model with an adaptive rule's threshold among its variables, where training keeps and checkpoints it."""
    start = {"threshold": jnp.asarray(clipping.start, jnp.float32)}
    return with_collection(model, THRESHOLD, lambda variables: start)


def private_gradients(
    loss: LossFn,
    clipping: Clipping | AdaptiveClipping,
    noise_multiplier: float,
    expected_batch_size: float,
    *,
    method: str = "auto",
    microbatch: int | None = None,
    count_noise: float | None = None,
    noise: Callable[[Array, Any, Any], Any] = gaussian,
    trainable: Sequence[str] | None = None,
) -> Callable[[Variables, Batch, Array], tuple[Any, StepMetrics]]:
    """The GradFn (sum_i clip(g_i) + N(0, (noise_multiplier * sensitivity)^2)) / expected_batch_size.

    Abadi et al. 2016, Algorithm 1, with noise on the SUM and the EXPECTED batch size as divisor: a public constant,
    where the size of the drawn batch would leak.

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, a metric of the example): see `example_loss`.
      clipping: a rule of `gecko_jax.clippings`; an adaptive one needs the model of `with_threshold`.
      noise_multiplier: standard deviation of the noise over the sum's sensitivity under add-or-remove (the accountant
        knows what it is worth under replace-one); at 0 nothing is private.
      expected_batch_size: rate * examples of the sampling.
      method, microbatch: see `clipped_sum`.
      count_noise: standard deviation of the noise on an adaptive rule's count, of which each example moves at most 1/2
        (Andrew et al. 2021 take expected_batch_size / 20, the default); the accountant's `count_noise_multiplier`.
      noise: (key, tree, std) -> noise; `privacy.secure_gaussian(...)` for a cryptographic source. `tree` holds the
        trained parameters' sums alone. One of your own is tried here, once (`try_noise`).
      trainable: regular expressions searched in the parameters' paths ("Dense_1/kernel"): only these are trained. None:
        all. A frozen parameter has no part in the norm, gets no noise, and its gradient is exactly 0. The same holds,
        by the program's structure, for one without a gradient path to the loss. (A rule with groups needs none for
        the frozen ones: `per_layer` without them has a smaller sensitivity.)

    Returns:
      (variables, batch, key) -> (gradients, StepMetrics); losses, metric and count are not private. Its attribute
      `settings` is a PrivateSettings.

    Raises:
      ValueError: arguments out of their bounds, no clipping rule, or one that breaks its bound, whoever made it
        (`clippings.check_rule`); a noise function that is not what the accountant prices; when called, a parameter of
        `trainable` that is not there, or no parameter that is trained.
    """
    checks.at_least("noise_multiplier", noise_multiplier, 0)
    checks.positive("expected_batch_size", expected_batch_size)
    try_parts(clipping, noise, noise_multiplier)
    trainable = trainable_patterns(trainable)
    adaptive = isinstance(clipping, AdaptiveClipping)
    if count_noise is not None and not adaptive:
        raise ValueError(f"count_noise={count_noise} needs an adaptive rule; {clipping.name!r} counts nothing.")
    count_noise = expected_batch_size / 20 if count_noise is None else checks.at_least("count_noise", count_noise, 0)
    summed = clipped(loss, method, microbatch, expected_batch_size)
    states = getattr(loss, "updates", None)  # of `example_loss`

    def gradients(variables, batch, key):
        real, valid = check_weights("batch.weight", weight_of(batch), row_count("batch", batch))
        of_loss, of_noise, of_count = jax.random.split(key, 3)
        rule, updates = clipping, states(variables, batch, jax.random.fold_in(of_loss, 0)) if states else {}
        if adaptive:
            threshold = _threshold(variables, clipping)
            rule = clipping.at(threshold)
        keep = live(variables, batch, of_loss)
        found = summed(rule, variables, batch, of_loss, live=keep)
        everything = found.sum
        found = found._replace(sum=select_leaves(everything, keep))  # no noise is drawn for what is not trained
        with jax.named_scope(PRIVATE_SCOPE):
            drawn = noise(of_noise, found.sum, noise_multiplier * rule.sensitivity)
        private = jax.tree.map(lambda total, noisy: (total + noisy) / expected_batch_size, found.sum, drawn)
        private = with_leaves(private, everything, keep)
        if adaptive:
            norms = found.norms.reshape(len(real), -1)
            share = by_row(lambda row: clipping.exceeds(row, threshold), norms)
            share = jnp.where(jnp.all(jnp.isfinite(norms), axis=1), share, 0)
            # Counted from the middle, as Andrew et al. do: one example moves the sum by 1/2, not by 1.
            centred = jnp.sum(jnp.where(real, share - 0.5, 0)) + count_noise * jax.random.normal(of_count)
            new = valid * clipping.update(threshold, centred / expected_batch_size + 0.5)
            updates = {**updates, THRESHOLD: {"threshold": new}}
        return private, _metrics(found.results, real, valid, updates)

    def live(variables, batch, key):
        return trained_leaves(loss, variables, batch, key, trainable)

    gradients.live = live
    gradients.loss = getattr(loss, "loss", None)  # of `example_loss`
    gradients.settings = PrivateSettings(float(noise_multiplier), float(expected_batch_size), trainable)
    return gradients


def try_parts(clipping: Clipping | AdaptiveClipping, noise: Callable[..., Any], noise_multiplier: float | None) -> None:
    """Tries a clipping rule and a noise function, unless they have been tried before.

    Args:
      clipping, noise: see `private_gradients`.
      noise_multiplier: at 0 nothing is private, and the noise is not tried; None where it is not known yet.

    Raises:
      ValueError: no rule, one that breaks its bound, or a noise function that is not what the accountant prices.
    """
    if not isinstance(clipping, (Clipping, AdaptiveClipping)):
        raise ValueError(
            f"clipping={clipping!r} is no rule of gecko_jax.clippings. Noise protects only what is clipped: without a "
            "bound on each example's gradient no amount of it is private. Without noise, leave out `gradients`."
        )
    try_rule(clipping)
    if not callable(noise):
        raise ValueError(f"noise={noise!r} must be a function (key, tree, std) -> noise, such as privacy.gaussian.")
    if noise is not gaussian and noise_multiplier != 0:
        start = clipping.start if isinstance(clipping, AdaptiveClipping) else clipping.sensitivity
        try_noise(noise, (noise_multiplier or 1.0) * float(start), isinstance(clipping, AdaptiveClipping))


def _threshold(variables: Variables, clipping: AdaptiveClipping) -> Array:
    if THRESHOLD not in variables:
        raise ValueError(
            f"variables hold no {THRESHOLD!r}, the threshold of the adaptive rule {clipping.name!r}, but only "
            f"{sorted(variables)}: train privacy.with_threshold(model, clipping) in the model's place."
        )
    return variables[THRESHOLD]["threshold"]


def _metrics(results, real: Array, valid: Array, updates: Variables) -> StepMetrics:
    losses, *rest = (single(each) for each in results)  # half precision cannot count beyond 256
    each = rest[0] if rest else losses
    count = jnp.sum(real.astype(jnp.float32))
    mean = jnp.sum(jnp.where(real, losses, 0)) / jnp.maximum(count, 1)
    metric = jnp.sum(jnp.where(real.reshape(-1, *(1,) * (each.ndim - 1)), each, 0), axis=0)
    return StepMetrics(mean * valid, metric, count, updates)
