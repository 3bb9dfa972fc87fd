"""Draws the batches of a Sampling, step by step. NumPy only: JAX begins where a step gathers its rows.

The coins come from NumPy's PCG64, a pseudo-random generator that is not cryptographic. The accounting assumes coins
that the adversary cannot predict: use `secret_seed()` for whatever is released, and a typed seed only to repeat a
study. Two samplings that differ in any field draw unrelated coins from one seed. Two runs of one sampling draw the same
coins, unless their seeds or names differ.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.batches import Batches
from gecko_jax.privacy.sampling import MAX_OVERFLOW, Sampling, check_sampling, steps_per_epoch


def _source(sampling: Sampling, seed: int, *words: str | int) -> np.random.Generator:
    return keys.generator(keys.derived_seed(seed, sampling=sampling), *words)


def _coins(sampling: Sampling, seed: int, step: int, name: int | str) -> np.ndarray:
    """Draws the rows of one Poisson batch: a binomial count, then a uniform subset, which is the same as n coins."""
    source = _source(sampling, seed, "sampling", name, step)
    count = int(source.binomial(sampling.n, sampling.rate))
    if count > sampling.cap:
        if sampling.kind == "poisson":
            raise RuntimeError(
                f"step {step} drew {count} rows and has cap={sampling.cap} slots. A Poisson batch is never cut short: "
                f"this has a probability below {MAX_OVERFLOW:g} a run for the cap that poisson() chooses; take another "
                "seed for the whole run, or truncated_poisson."
            )
        count = sampling.cap  # a uniform subset of a uniform subset is a uniform subset
    return np.sort(source.choice(sampling.n, count, replace=False, shuffle=False))


def _pieces(sampling: Sampling, seed: int, steps: range, name: int | str) -> dict[int, np.ndarray]:
    """Draws the rows of shuffled batches: one permutation for each epoch that the steps touch."""
    length, rows = steps_per_epoch(sampling), {}
    for epoch in range(steps.start // length, -(-steps.stop // length)):
        order = _source(sampling, seed, "shuffled", name, epoch).permutation(sampling.n)
        for step in range(max(steps.start, epoch * length), min(steps.stop, (epoch + 1) * length)):
            start = (step - epoch * length) * sampling.cap
            rows[step] = order[start : start + sampling.cap]
    return rows


def draw(sampling: Sampling, seed: int, first_step: int, steps: int, name: int | str = 0) -> Batches:
    """Draws the batches of some steps of a run.

    Step t is a function of (sampling, seed, t, name) only: a run that is resumed, or that draws its steps in other
    portions, gets the same batches.

    Args:
      sampling: see `poisson`, `truncated_poisson` and `shuffled`.
      seed: seed of the run's draws: a `secret_seed()`, or, to repeat a study, a number in 0..2^32-1.
      first_step: the first step to draw, from 0.
      steps: how many; the last step of the run is sampling.steps - 1, because no more are accounted for.
      name: of one of several models that are trained with one seed; each has its own stream.

    Returns:
      Batches of [steps, cap]: rows 0..n-1, real ones first and each at most once a batch; padding is row 0 of weight 0.
      A batch may be empty (padding only): train on it as on any other, with its noise.

    Raises:
      ValueError: for steps outside the run, or an argument out of range.
      RuntimeError: if a batch of plain Poisson sampling does not fit its slots.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> batch = draw(poisson(100, 10, steps=50), seed=0, first_step=0, steps=3)
      >>> batch.indices.shape == (3, 38), set(batch.weight.ravel().tolist()) == {0.0, 1.0}
      (True, True)
    """
    return draw_unchecked(check_sampling(sampling), seed, first_step, steps, name)


def draw_unchecked(sampling: Sampling, seed: int, first_step: int, steps: int, name: int | str = 0) -> Batches:
    """Draws without `check_sampling`, for a record that was derived from a checked one (a model's own members)."""
    first_step, steps = checks.integer("first_step", first_step, 0), checks.integer("steps", steps, 1)
    if first_step + steps > sampling.steps:
        raise ValueError(
            f"first_step + steps = {first_step + steps} is beyond the run's {sampling.steps} steps, which are what the "
            "accountant counts. Build the Sampling with as many steps as the run has."
        )
    run = range(first_step, first_step + steps)
    if sampling.kind == "shuffled":
        rows = _pieces(sampling, seed, run, name)
    else:
        rows = {step: _coins(sampling, seed, step, name) for step in run}
    indices = np.zeros((steps, sampling.cap), np.int32)
    weight = np.zeros((steps, sampling.cap), np.float32)
    for slot, step in enumerate(run):
        indices[slot, : len(rows[step])] = rows[step]
        weight[slot, : len(rows[step])] = 1.0
    return Batches(indices, weight)
