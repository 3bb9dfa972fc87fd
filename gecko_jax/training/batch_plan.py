"""The plan of a run's epochs: rows, keys and scheduled values of every model, computed on the host."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets import batches
from gecko_jax.datasets.batches import Batches, check_members
from gecko_jax.privacy.cipher_keys import key_of_seed, wrap_key
from gecko_jax.privacy.draws import draw_unchecked
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.training.schedules import Schedules
from gecko_jax.training.step import Epoch
from gecko_jax.types import Array

MAX_COIN_DEVIATIONS = 6  # standard deviations between the number of members that coins drew and the expected number


class BatchPlan(NamedTuple):
    """How a run's epochs are filled.

    Attributes:
      member: bool [m, n], who is trained on.
      model_ids: [m] IDs that select each model's random stream.
      seeds: [m] seeds of each model's order and draws.
      epochs: number of epochs.
      batch_size: rows of a batch, if each epoch passes over all members.
      sampling: how batches are drawn instead, or None.
      schedules: what changes with time.
      ciphers: whether the keys of the steps are ChaCha20's, for noise that needs them.
    """

    member: np.ndarray
    model_ids: tuple[int, ...]
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    sampling: Sampling | None
    schedules: Schedules
    ciphers: bool = False

    @property
    def slots(self) -> int:
        """Returns the rows of a batch, padding included."""
        return self.batch_size if self.sampling is None else self.sampling.cap

    @property
    def steps(self) -> np.ndarray:
        """Returns the steps of one epoch for each model, [m]."""
        if self.sampling is not None:
            return np.full(len(self.member), self.sampling.steps // self.epochs)
        return -(-self.member.sum(1) // self.batch_size)

    @property
    def skips(self) -> bool:
        """Returns whether some model has fewer steps an epoch than another, filled up with steps that do nothing.

        Sampled runs never have such steps: an empty batch is a step like any other, with its noise.
        """
        return bool((self.steps < self.steps.max()).any())


def check(plan: BatchPlan) -> None:
    """Raises ValueError if the batches cannot be drawn."""
    member, sampling = plan.member, plan.sampling
    if sampling is None:
        batches(member, plan.batch_size, 0, 0, model_ids=plan.model_ids)
        return
    if sampling.steps % plan.epochs:
        below = sampling.steps // plan.epochs * plan.epochs
        raise ValueError(
            f"sampling.steps={sampling.steps} must be a multiple of epochs={plan.epochs}, which cut the run into "
            f"equal parts: sample {below or plan.epochs} or {below + plan.epochs} steps, or take other epochs."
        )
    counts = np.count_nonzero(check_members(member, plan.model_ids)[0], axis=1)
    if sampling.kind == "poisson":
        _check_expected(sampling.n, counts, member.shape[1])
    elif (counts != sampling.n).any():
        numbers = checks.listed(sorted(set(counts.tolist())))
        raise ValueError(
            f"sampling.n={sampling.n} must be the number of members of every model ([{numbers}]) "
            f"for {sampling.kind!r} batches. Draw balanced members, or use Poisson sampling: its price does not depend "
            "on n."
        )


def _check_expected(n: int, counts: np.ndarray, pool: int) -> None:
    """Raises ValueError unless each model has n members, or a number that fair coins with this expectation would draw.

    A sampling with another n still draws at its own rate, and its price holds. But its batches, and with them its
    steps, are larger or smaller than the user asked for, by any factor.

    Args:
      n: examples of the sampling.
      counts: [m] members of each model.
      pool: number of examples that members were drawn from.
    """
    allowed = MAX_COIN_DEVIATIONS * np.sqrt(n * max(1 - n / pool, 0))  # n of a pool of n: no deviation at all
    far = int(np.argmax(np.abs(counts - n)))
    if n <= pool and abs(counts[far] - n) <= allowed:
        return
    told = f"sampling.n={n} (n= of privacy.private_training or privacy.poisson)"
    if n > pool:
        raise ValueError(
            f"{told} is more than the {pool:,} examples of the data: each step would be {n / counts[far]:.3g} times "
            f"too weak. Pass n={counts[far]}, the number that is trained on."
        )
    low, high = max(0, int(n - allowed)), int(min(n + allowed, pool))
    raise ValueError(
        f"{told} is not the number of examples that are trained on: member[{far}] selects {counts[far]:,} of {pool:,}, "
        f"where coins with an expectation of {n:,} select {low:,} to {high:,}. Pass n={counts[far]}, or other members."
    )


def plan_epoch(plan: BatchPlan, epoch: int) -> Epoch:
    """Returns one epoch's rows, keys and scheduled values for all models."""
    order = _order(plan, epoch)
    ids = np.array(plan.model_ids, np.uint32)
    model_keys = _model_keys(_roots(plan.seeds, plan.ciphers), np.uint32(epoch), ids)
    return Epoch(order.indices, order.weight, np.asarray(model_keys), plan.schedules.at(epoch))


def _order(plan: BatchPlan, epoch: int) -> Batches:
    steps = plan.steps  # counted once, because it reads the members of all models
    if plan.sampling is None and len(set(plan.seeds)) == 1:
        max_steps = int(steps.max())
        return batches(plan.member, plan.batch_size, plan.seeds[0], epoch, steps=max_steps, model_ids=plan.model_ids)
    drawn = [_drawn(plan, row, epoch, steps) for row in range(len(plan.model_ids))]
    return Batches(np.stack([each.indices for each in drawn]), np.stack([each.weight for each in drawn]))


def _drawn(plan: BatchPlan, row: int, epoch: int, steps: np.ndarray) -> Batches:
    """Returns one model's batches of an epoch, from its members alone; a sampling draws them at its own rate."""
    member, seed, model_id = plan.member[row], plan.seeds[row], plan.model_ids[row]
    if plan.sampling is None:
        max_steps = int(steps.max())
        order = batches(member[None], plan.batch_size, seed, epoch, steps=max_steps, model_ids=[model_id])
        return Batches(order.indices[0], order.weight[0])
    rows, steps_of_model = np.flatnonzero(member).astype(np.int32), int(steps[row])
    of_members = plan.sampling._replace(n=len(rows), batch_size=plan.sampling.rate * len(rows))
    order = draw_unchecked(of_members, seed, epoch * steps_of_model, steps_of_model, model_id)
    return Batches(rows[order.indices], order.weight)


@functools.lru_cache(maxsize=64)
def _roots(seeds: tuple[int, ...], ciphers: bool) -> np.ndarray:
    """Returns the data of the key that each model's steps branch from, uint32 [m, words]."""
    root: Any = key_of_seed if ciphers else lambda seed: seed
    known = {seed: np.asarray(jax.random.key_data(keys.stream(root(seed), "steps"))) for seed in set(seeds)}
    return np.stack([known[seed] for seed in seeds])


@jax.jit
def _model_keys(roots: Array, epoch: Array, ids: Array) -> Array:
    """Returns the data of one key a model for an epoch, uint32 [m, words], because host arrays are cheap to slice."""

    def one(root: Any, model_id: Any) -> Any:
        key = jax.random.fold_in(wrap_key(root), epoch)
        return jax.random.key_data(jax.random.fold_in(key, model_id))

    return jax.vmap(one)(roots, ids)
