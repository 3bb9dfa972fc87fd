"""What one epoch does for every model: rows, keys and schedules, made on the host before the epoch starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets import batches
from gecko_jax.datasets.batches import Batches
from gecko_jax.privacy.sampling import Sampling, draw
from gecko_jax.training.optimizers import Rates, rate, transition_at
from gecko_jax.training.step import Epoch
from gecko_jax.types import Array


class Schedule(NamedTuple):
    """How a run's epochs are filled.

    Attributes:
      member: bool [m, n], who is trained on.
      names: [m] names of the models in the random streams.
      seed: of order and draws.
      epochs: of the run.
      batch_size: rows of a batch, where each epoch passes over all members.
      sampling: how batches are drawn instead, or None.
      rates: the learning rate's schedule, by name or as a function.
      transition: (start, end) epochs of the activations' transition, or None.
    """

    member: np.ndarray
    names: tuple[int, ...]
    seed: int
    epochs: int
    batch_size: int
    sampling: Sampling | None
    rates: Rates
    transition: tuple[int, int] | None

    @property
    def slots(self) -> int:
        """Rows of a batch, padding included."""
        return self.batch_size if self.sampling is None else self.sampling.cap

    @property
    def steps(self) -> np.ndarray:
        """Steps of one epoch for each model, [m]."""
        if self.sampling is not None:
            return np.full(len(self.member), self.sampling.steps // self.epochs)
        return -(-self.member.sum(1) // self.batch_size)

    @property
    def skips(self) -> bool:
        """Whether some model has fewer steps an epoch than another, filled with steps that do nothing.

        Never so where batches are sampled: there an empty batch is a step like any other, with its noise.
        """
        return bool((self.steps < self.steps.max()).any())


def check(schedule: Schedule) -> None:
    """Whether the batches can be made at all; raises ValueError."""
    member, sampling = schedule.member, schedule.sampling
    if sampling is None:
        batches(member, schedule.batch_size, schedule.seed, 0, models=schedule.names)
        return
    if sampling.steps % schedule.epochs:
        whole = sampling.steps // schedule.epochs * schedule.epochs
        raise ValueError(
            f"sampling.steps={sampling.steps} must be a multiple of epochs={schedule.epochs}, which cut the run into "
            f"equal parts: sample {whole or schedule.epochs} or {whole + schedule.epochs} steps, or take other epochs."
        )
    counts = np.count_nonzero(member, axis=1)
    if sampling.kind == "poisson":
        checks.not_empty("member", member)
        if not counts.all():
            raise ValueError(f"member[{int(np.argmin(counts))}] selects no rows; give that model at least one example.")
    elif (counts != sampling.n).any():
        raise ValueError(
            f"sampling.n={sampling.n} must be the number of members of every model ({sorted(set(counts.tolist()))}) "
            f"for {sampling.kind!r} batches. Draw balanced members, or use Poisson sampling: its price depends on no n."
        )


def epoch_work(schedule: Schedule, epoch: int) -> Epoch:
    """One epoch's rows, keys and schedules for all models."""
    order = _order(schedule, epoch)
    model_keys = _model_keys(keys.stream(schedule.seed, "steps", epoch), np.array(schedule.names, np.uint32))
    factor = np.float32(rate(schedule.rates, epoch, schedule.epochs))
    r = np.float32(transition_at(schedule.transition, epoch))
    return Epoch(order.indices, order.weight, np.asarray(model_keys), factor, r)


def _order(schedule: Schedule, epoch: int) -> Batches:
    if schedule.sampling is None:
        return batches(schedule.member, schedule.batch_size, schedule.seed, epoch, models=schedule.names)
    steps = schedule.sampling.steps // schedule.epochs
    drawn = [_drawn(schedule, row, name, epoch * steps, steps) for row, name in enumerate(schedule.names)]
    return Batches(np.stack([each.indices for each in drawn]), np.stack([each.weight for each in drawn]))


def _drawn(schedule: Schedule, row: int, name: int, first: int, steps: int) -> Batches:
    """A model's batches, of its own members: at the sampling's rate, whatever their number."""
    rows, sampling = np.flatnonzero(schedule.member[row]).astype(np.int32), schedule.sampling
    own = sampling._replace(n=len(rows), batch_size=sampling.rate * len(rows))
    found = draw(own, schedule.seed, first, steps, name)
    return Batches(rows[found.indices], found.weight)


@jax.jit
def _model_keys(root: Array, names: Sequence[int] | Array) -> Array:
    """One key a model, as its data, uint32 [m, words]: host arrays are cheap to cut up."""
    return jax.vmap(lambda name: jax.random.key_data(jax.random.fold_in(root, name)))(names)
