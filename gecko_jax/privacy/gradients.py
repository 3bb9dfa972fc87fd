"""Private gradients from a per-example loss and a clipping rule: the only thing that `fit` has to be given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.clippings.trial import try_rule
from gecko_jax.hooks import with_collection
from gecko_jax.privacy.cipher_keys import needs_cipher, plain_key, step_keys
from gecko_jax.privacy.noise import gaussian
from gecko_jax.privacy.noise_trial import try_noise
from gecko_jax.privacy.per_example.clipped import LossFn, clipped
from gecko_jax.privacy.per_example.paths import trained_leaves
from gecko_jax.privacy.per_example.rows import by_row
from gecko_jax.privacy.per_example.sites import at_least_float32
from gecko_jax.privacy.per_example.weights import check_weights, weight_of
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.trees import row_count, select_leaves, trainable_patterns, with_leaves
from gecko_jax.types import AdaptiveClipping, Array, Batch, Clipping, Model, StepMetrics, Variables

THRESHOLD = "clipping"  # the collection that holds an adaptive rule's threshold
MAX_NOISE = float(jnp.finfo(jnp.float32).max)  # a standard deviation beyond it is infinite in float32
PRIVATE_SCOPE = "privacy.private_gradients"  # around the noise, by which a function that wraps them is known


class PrivateSettings(NamedTuple):
    """What a private GradFn was built with, so that `training.fit` can compare it with its own arguments.

    Attributes:
      noise_multiplier: standard deviation of the noise over the clipping's sensitivity.
      expected_batch_size: what the noised sum is divided by.
      trainable: expressions of the parameters that are trained; None: all.
      sampling: the Sampling that the run's epsilon covers; None if unknown.
      needs_cipher: whether the noise draws from keys of ChaCha20 alone, see `cipher_noise`.
    """

    noise_multiplier: float
    expected_batch_size: float
    trainable: tuple[str, ...] | None = None
    sampling: Sampling | None = None
    needs_cipher: bool = False


def with_threshold(model: Model, clipping: AdaptiveClipping) -> Model:
    """Adds an adaptive rule's threshold to the model's variables, with which training carries and checkpoints it.

    Args:
      model: any model.
      clipping: an adaptive rule, such as `clippings.quantile`.

    Returns:
      The model, whose `init` gives one collection more.

    >>> from gecko_jax import clippings, models
    >>> model = with_threshold(models.create("mlp", 2, hidden=(3,)), clippings.quantile(0.5))
    >>> float(model.init(jax.random.key(0), jnp.ones((1, 4)))["clipping"]["threshold"])
    0.5
    """
    return with_collection(model, THRESHOLD, lambda _: {"threshold": jnp.asarray(clipping.start, jnp.float32)})


def private_gradients(
    loss: LossFn,
    clipping: Clipping | AdaptiveClipping,
    noise_multiplier: float,
    expected_batch_size: float,
    *,
    method: str = "auto",
    microbatch: int | None = None,
    precision: str | None = None,
    count_noise: float | None = None,
    noise: Callable[[Array, Any, Any], Any] = gaussian,
    trainable: Sequence[str] | None = None,
) -> Callable[[Variables, Batch, Array], tuple[Any, StepMetrics]]:
    """Builds the GradFn (sum_i clip(g_i) + N(0, (noise_multiplier * sensitivity)^2)) / expected_batch_size.

    The noise is added to the SUM, and the EXPECTED batch size divides it: a public constant, because the size of the
    drawn batch would leak who takes part.

    Guarantee: one call is a Gaussian mechanism with this noise multiplier under add-or-remove (half of it under
    replace-one); `privacy.epsilon` prices a run of such calls on batches of a Sampling. It covers the returned
    gradients and an adaptive rule's threshold, not the StepMetrics, and real numbers, not their floating-point
    rounding. A batch without real rows gets the same noise as any other.

    | argument | 0 | NaN | infinite | tiny |
    |---|---|---|---|---|
    | noise_multiplier | no noise, not private | refused | refused | accepted: epsilon is huge |
    | expected_batch_size | refused | refused | refused | accepted: every step is huge |
    | count_noise | the count is released, epsilon is infinite | refused | refused | accepted: epsilon is huge |
    | an example's gradient | adds 0 | adds 0 | adds 0 | see `clipped_sum` |

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, a metric of the example): see `privacy.example_loss`.
      clipping: a rule of `gecko_jax.clippings`; an adaptive one needs the model of `with_threshold`.
      noise_multiplier: standard deviation of the noise over the sum's sensitivity under add-or-remove.
      expected_batch_size: rate * n of the sampling.
      method, microbatch, precision: see `clipped_sum`. Sums are in float32 unless a lower precision is named.
      count_noise: standard deviation of the noise on an adaptive rule's count, of which each example moves at most 1/2
        (Andrew et al. 2021 take expected_batch_size / 20, the default); the accountant's `count_noise_multiplier`.
      noise: (key, tree, std) -> noise; `privacy.chacha_gaussian` is cryptographic, on the device. `tree` holds the sums
        of the trained parameters only. A function of your own is tried here, once (`try_noise`).
      trainable: regular expressions searched in the parameters' paths ("Dense_1/kernel"): only these are trained. None:
        all. A frozen parameter has no part in the norm, gets no noise, and its gradient is exactly 0. The same holds
        for a parameter without a gradient path to the loss. (A rule with groups needs no group for frozen parameters:
        `per_layer` without them has a smaller sensitivity.)

    Returns:
      (variables, batch, key) -> (gradients, StepMetrics). Losses, metric and count are not private. Its attribute
      `settings` is a PrivateSettings; a function of yours around it must carry its attributes (`functools.wraps`).

    Raises:
      ValueError: an argument out of its bounds, something that is not a clipping rule, a rule that breaks its bound
        (`clippings.check_rule`), a noise function that is not what the accountant prices; when called, an expression of
        `trainable` that no path matches, or no parameter that is trained.

    Source: Abadi et al., CCS 2016 (arXiv 1607.00133), Algorithm 1; adaptive rules: Andrew et al., NeurIPS 2021 (arXiv
    1905.03871), Algorithm 1.

    >>> from gecko_jax import clippings
    >>> gradients = private_gradients(lambda w, x, key: w @ x, clippings.flat(1.0), 0.0, expected_batch_size=2.0)
    >>> mean, metrics = gradients(jnp.zeros(2), jnp.array([[3.0, 4.0], [0.0, 0.5]]), jax.random.key(0))
    >>> [f"{each:.2f}" for each in mean.tolist()]
    ['0.30', '0.65']
    """
    _check_deviation("noise_multiplier", noise_multiplier)
    checks.positive("expected_batch_size", expected_batch_size)
    try_parts(clipping, noise, noise_multiplier)
    trainable = trainable_patterns(trainable)
    adaptive = clipping if isinstance(clipping, AdaptiveClipping) else None
    if count_noise is not None and not adaptive:
        raise ValueError(f"count_noise={count_noise} needs an adaptive rule; {clipping.name!r} counts nothing.")
    count_noise = expected_batch_size / 20 if count_noise is None else _check_deviation("count_noise", count_noise)
    clip = clipped(loss, method, microbatch, expected_batch_size, precision)
    states = getattr(loss, "updates", None)  # of `example_loss`
    noise_of_count = noise if getattr(noise, "is_cryptographic", False) else _scalar_gaussian

    def gradients(variables, batch, key):
        real, valid = check_weights("batch.weight", weight_of(batch), row_count("batch", batch))
        of_loss, of_noise, of_count = step_keys(key)
        rule, updates = clipping, states(variables, batch, jax.random.fold_in(of_loss, 0)) if states else {}
        if isinstance(rule, AdaptiveClipping):
            threshold = _threshold(variables, rule)
            rule = rule.at(threshold)
        keep = live(variables, batch, of_loss)
        summed = clip(rule, variables, batch, of_loss, live=keep)
        all_sums = summed.sum
        summed = summed._replace(sum=select_leaves(all_sums, keep))  # no noise is drawn for what is not trained
        with jax.named_scope(PRIVATE_SCOPE):
            drawn = noise(of_noise, summed.sum, noise_multiplier * rule.sensitivity)
        private = jax.tree.map(lambda total, noisy: (total + noisy) / expected_batch_size, summed.sum, drawn)
        private = with_leaves(private, all_sums, keep)
        if adaptive:
            exceeds, norms = adaptive.exceeds, summed.norms.reshape(len(real), -1)
            share = by_row(lambda row: exceeds(row, threshold), norms)
            share = jnp.where(jnp.all(jnp.isfinite(norms), axis=1), share, 0)
            # Counted from the middle, as Andrew et al. do: one example moves the sum by 1/2, not by 1.
            centered = jnp.sum(jnp.where(real, share - 0.5, 0)) + noise_of_count(of_count, jnp.zeros(()), count_noise)
            new = valid * adaptive.update(threshold, centered / expected_batch_size + 0.5)
            updates = {**updates, THRESHOLD: {"threshold": new}}
        return private, _metrics(summed.results, real, valid, updates)

    def live(variables, batch, key):
        return trained_leaves(loss, variables, batch, plain_key(key), trainable)

    gradients.live = live
    gradients.loss = getattr(loss, "loss", None)  # of `example_loss`
    settings = PrivateSettings(float(noise_multiplier), float(expected_batch_size), trainable)
    gradients.settings = settings._replace(needs_cipher=needs_cipher(noise))
    return gradients


def _scalar_gaussian(key: Array, like: Array, std: float) -> jax.Array:
    return std * jax.random.normal(key, like.shape)


def _check_deviation(name: str, value: float) -> float:
    """Returns a standard deviation of noise; ValueError if it is below 0, NaN, or infinite in float32."""
    return checks.in_range(name, checks.at_least(name, value, 0), 0, MAX_NOISE)


def try_parts(clipping: Clipping | AdaptiveClipping, noise: Callable[..., Any], noise_multiplier: float | None) -> None:
    """Tries a clipping rule and a noise function, unless they have passed before.

    Args:
      clipping, noise: see `private_gradients`.
      noise_multiplier: at 0 nothing is private, and the noise is not tried; None if it is not known yet.

    Raises:
      ValueError: something that is not a rule, a rule that breaks its bound, or a noise function that is not what the
        accountant prices.
    """
    if not isinstance(clipping, (Clipping, AdaptiveClipping)):
        raise ValueError(
            f"clipping={clipping!r} is not a rule of gecko_jax.clippings. Noise protects only what is clipped: without "
            "a bound on each example's gradient no amount of it is private. Without noise, leave out `gradients`."
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
            f"variables has no collection {THRESHOLD!r}, the threshold of the adaptive rule {clipping.name!r}, only "
            f"{sorted(variables)}. Train privacy.with_threshold(model, clipping) instead of the model."
        )
    return variables[THRESHOLD]["threshold"]


def _metrics(results, real: Array, valid: Array, updates: Variables) -> StepMetrics:
    losses, *rest = (at_least_float32(each) for each in results)  # half precision cannot count beyond 256
    each = rest[0] if rest else losses
    count = jnp.sum(real.astype(jnp.float32))
    mean = jnp.sum(jnp.where(real, losses, 0)) / jnp.maximum(count, 1)
    metric = jnp.sum(jnp.where(real.reshape(-1, *(1,) * (each.ndim - 1)), each, 0), axis=0)
    return StepMetrics(mean * valid, metric, count, updates)
