"""Builds everything that a private run needs beside its data, so that noise, batches and epsilon agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gecko_jax import checks
from gecko_jax.privacy.accounting.calibration import calibrate_noise
from gecko_jax.privacy.accounting.epsilon import TIGHTEST, Epsilon, epsilon
from gecko_jax.privacy.accounting.groups import group_epsilon
from gecko_jax.privacy.augmentation import Augment, augmented
from gecko_jax.privacy.example_loss import example_loss
from gecko_jax.privacy.gradients import private_gradients, try_parts, with_threshold
from gecko_jax.privacy.noise import gaussian
from gecko_jax.privacy.per_example.states import refuse_statistics
from gecko_jax.privacy.sampling import Sampling, poisson, truncated_poisson
from gecko_jax.privacy.users import check_users
from gecko_jax.trees import trainable_patterns
from gecko_jax.types import AdaptiveClipping, Clipping, Loss, Model


class PrivateTraining(NamedTuple):
    """A private run, ready for `training.fit(private.model, data, **private.options)`.

    Attributes:
      model: the model; with an adaptive rule it holds the threshold among its variables.
      gradients: the private GradFn.
      sampling: how batches are drawn.
      epochs: into which the run's steps are cut.
      noise_multiplier: standard deviation of the noise over the clipping's sensitivity.
      epsilon: what the run costs, or all `runs` together; `str(epsilon)` states its assumptions.
      trainable: expressions of the parameters that are trained; None: all.
    """

    model: Model
    gradients: Callable[..., Any]
    sampling: Sampling
    epochs: int
    noise_multiplier: float
    epsilon: Epsilon
    trainable: tuple[str, ...] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Returns arguments of `fit`, `fit_ensemble` and `distill`, whose `optimizer` makes it DP-SGD or DP-Adam."""
        named = {} if self.trainable is None else {"trainable": self.trainable}
        return dict(gradients=self.gradients, sampling=self.sampling, epochs=self.epochs, **named)


def private_training(
    model: Model,
    loss: Loss,
    clipping: Clipping | AdaptiveClipping,
    *,
    n: int,
    batch_size: float,
    epochs: int,
    delta: float,
    target_epsilon: float | None = None,
    noise_multiplier: float | None = None,
    cap: int | None = None,
    augment: Augment | None = None,
    multiplicity: int = 1,
    trainable: Sequence[str] | None = None,
    runs: int = 1,
    x: Any = None,
    adjacency: str = "add_or_remove",
    records: int = 1,
    users: Any = None,
    **options,
) -> PrivateTraining:
    """Prepares DP-SGD, DP-Adam or any other optimizer on private gradients (Abadi et al. 2016, Algorithm 1).

    Args:
      model: a model without statistics over the batch.
      loss: a per-example loss of `gecko_jax.losses`.
      clipping: a rule of `gecko_jax.clippings`.
      n: number of training examples, which is public; if several models have members of their own, the expected number.
      batch_size: expected rows of a Poisson batch.
      epochs: passes over the data: round(n / batch_size) steps each.
      delta: below 1/n.
      target_epsilon: the budget, from which the noise follows. Give this or noise_multiplier.
      noise_multiplier: standard deviation of the noise over the clipping's sensitivity, from which epsilon follows.
      cap: rows to which larger batches are cut (`truncated_poisson`), for a smaller static shape; None: plain Poisson.
      augment, multiplicity: random copies of each example in a step, free of privacy cost: see `augmented`.
      trainable: regular expressions searched in the parameters' paths ("Dense_1/kernel"): the others stay unchanged to
        the bit, have no part in the clipped norm and get no noise. None: all. See `training.fit_ensemble`.
      runs: how many trainings of this sampling and noise epsilon covers together: 2 for a teacher and its student that
        are both trained privately on the same members. `sampling` and `options` are those of one of them.
      x: a batch of inputs, or their shapes, by which a model with statistics over the batch (BatchNorm) is refused
        before epsilon is computed. None: usual inputs are tried, see `refuse_statistics`.
      adjacency: "add_or_remove" or "replace_one", what makes two data sets neighbors; see `privacy.epsilon`.
      records: how many examples of one person epsilon protects together: 1 for one example, whoever it belongs to; see
        `group_epsilon`. `limit_rows_per_user` sees to it that nobody has more.
      users: the names [n] of the people whom the examples belong to. If one of them has more than `records`, a warning
        and `str(epsilon)` say that epsilon does not protect people. None: unknown, and then epsilon cannot tell.
      **options: of `private_gradients`: method, microbatch, precision (the format of products), count_noise, noise.

    Returns:
      A PrivateTraining.

    Raises:
      ValueError: both or neither of target_epsilon and noise_multiplier, a multiplicity without `augment`, a model with
        statistics over the batch, or an argument out of its bounds.

    >>> from gecko_jax import clippings, losses, models
    >>> flat = clippings.flat(1.0)
    >>> run = private_training(models.create("mlp", 10), losses.cross_entropy(), flat, n=60_000, batch_size=256,
    ...                        epochs=60, delta=1e-5, noise_multiplier=1.1)
    >>> round(float(run.epsilon), 2), run.sampling.steps
    (2.38, 14040)
    >>> sorted(run.options)  # training.fit(run.model, data, **run.options)
    ['epochs', 'gradients', 'sampling']
    """
    if (target_epsilon is None) == (noise_multiplier is None):
        raise ValueError(
            f"target_epsilon={target_epsilon!r} and noise_multiplier={noise_multiplier!r}: give one of the two; the "
            "other follows from it."
        )
    if augment is None and multiplicity != 1:
        raise ValueError(f"multiplicity={multiplicity!r} needs augment=...: without it all copies are the same.")
    try_parts(clipping, options.get("noise", gaussian), noise_multiplier)
    refuse_statistics(model, x)
    trainable = trainable_patterns(trainable)
    n = checks.integer("n", n, 1)
    checks.positive("batch_size", batch_size)
    steps = checks.integer("epochs", epochs, 1) * max(1, round(n / batch_size))
    sampling = poisson(n, batch_size, steps) if cap is None else truncated_poisson(n, batch_size, steps, cap)
    together = sampling._replace(steps=sampling.steps * checks.integer("runs", runs, 1))
    rows_per_user = 1 if users is None else check_users(users, n, records)
    count_noise = None
    if isinstance(clipping, AdaptiveClipping):
        count_noise = options.get("count_noise")
        count_noise = options["count_noise"] = batch_size / 20 if count_noise is None else count_noise
        model = with_threshold(model, clipping)
    if noise_multiplier is None:
        assert target_epsilon is not None  # one of the two is given
        noise_multiplier = calibrate_noise(together, target_epsilon, delta, adjacency, count_noise, records)
    of_one = example_loss(model, loss)
    if augment is not None:
        of_one = augmented(of_one, augment, multiplicity)
    gradients = private_gradients(of_one, clipping, noise_multiplier, batch_size, trainable=trainable, **options)
    gradients.settings = gradients.settings._replace(sampling=sampling)
    if records == 1:
        spent = epsilon(together, noise_multiplier, delta, TIGHTEST, adjacency, count_noise)
    else:
        spent = group_epsilon(together, noise_multiplier, delta, records, adjacency, count_noise)
    spent = spent._replace(rows_per_user=rows_per_user)
    return PrivateTraining(model, gradients, sampling, int(epochs), float(noise_multiplier), spent, trainable)
