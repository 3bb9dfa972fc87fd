"""The sampling record: who takes part in which step. The training loop and the accountant read the same one.

A `Sampling` describes how batches are drawn; `privacy.draw` draws them, and `privacy.epsilon` prices them. So what is
trained and what is reported cannot disagree.

Guarantee: in Poisson sampling each example takes part in each step with probability batch_size / n, independently of
all others and of all other steps; a batch is never cut silently.

| argument | 0 | NaN, infinite | tiny | largest |
|---|---|---|---|---|
| batch_size | refused | refused | accepted: most batches are empty, and get noise | n: every example in every step |
| n, steps, cap, epochs | refused | refused | 1 is accepted | n to 2^31 - 1, steps to 2^32 - 1 |

A batch that would overflow its slots (once in 1e12 runs) raises RuntimeError.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import special

from gecko_jax import checks, keys

KINDS = ("poisson", "truncated_poisson", "shuffled")
MAX_OVERFLOW = 1e-12  # probability that some plain Poisson batch of a run does not fit its slots


class Sampling(NamedTuple):
    """How the batches of a run are drawn. Every field is public: none is a function of the draws.

    Attributes:
      kind: "poisson", "truncated_poisson" or "shuffled"; see the functions of these names, which build the record.
      n: examples that the batches are drawn from.
      batch_size: expected rows of a batch before truncation, what the noised sum is divided by.
      steps: steps of the run.
      cap: slots of a batch, its static shape.

    >>> sampling = shuffled(n=1000, batch_size=300, epochs=2)
    >>> sampling.rate, sampling.steps, sampling.epochs
    (0.3, 8, 2)
    """

    kind: str
    n: int
    batch_size: float
    steps: int
    cap: int

    @property
    def rate(self) -> float:
        """Returns the probability that an example takes part in a step: batch_size / n."""
        return self.batch_size / self.n

    @property
    def epochs(self) -> int:
        """Returns how often a shuffled run shows each example: steps / ceil(n / batch_size), rounded up."""
        return -(-self.steps // steps_per_epoch(self))

    def __str__(self) -> str:
        if self.kind == "shuffled":
            return f"shuffled batches of {self.cap} from {self.n:,}, {self.epochs:,} epochs ({self.steps:,} steps)"
        cut = f", truncated at {self.cap:,}" if self.kind == "truncated_poisson" else ""
        return f"Poisson sampling at rate {self.batch_size:g}/{self.n:,}{cut}, {self.steps:,} steps"


def steps_per_epoch(sampling: Sampling) -> int:
    """Returns ceil(n / batch_size), the batches of a shuffled epoch."""
    return -(-sampling.n // sampling.cap)


def probability_above(n: int, rate: float, size: int) -> float:
    """Returns P(Binomial(n, rate) > size) by the incomplete beta function, which is exact in the far tail, too."""
    return 0.0 if size >= n else float(special.betainc(size + 1, n - size, rate))


def _slots(n: int, rate: float, steps: int) -> int:
    """Returns the fewest slots that `steps` batches overflow with a probability below MAX_OVERFLOW."""
    low, high = -1, n  # low overflows too often, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if steps * probability_above(n, rate, middle) < MAX_OVERFLOW else (middle, high)
    return max(high, 1)


def _independent(kind: str, n: int, batch_size: float, steps: int, cap: int) -> Sampling:
    n, steps = checks.integer("n", n, 1), checks.integer("steps", steps, 1)
    checks.in_range("n", n, 1, np.iinfo(np.int32).max)  # indices are int32
    checks.in_range("steps", steps, 1, keys.MAX_SEED)
    checks.positive("batch_size", batch_size)
    if batch_size > n:
        raise ValueError(f"batch_size={batch_size!r} must be at most n={n}: it is the expected size of a batch.")
    return Sampling(kind, n, float(batch_size), steps, cap)


def check_sampling(sampling: Sampling) -> Sampling:
    """Returns the record if `poisson`, `truncated_poisson` or `shuffled` could have built it.

    A record that is built by hand, or changed by `_replace`, must not promise what the draws do not keep. It is checked
    wherever it is drawn from, accounted for or trained with.

    Raises:
      ValueError: something other than a Sampling, an unknown kind, a field out of range, or slots that a Poisson
        batch overflows more often than once in 1e12.
    """
    if not isinstance(sampling, Sampling):
        raise ValueError(f"sampling={sampling!r} must be a Sampling, or a sequence of them: see privacy.poisson.")
    try:
        return _checked(sampling)
    except TypeError:  # a field that has no hash
        return _checked.__wrapped__(sampling)


@functools.lru_cache(maxsize=256)
def _checked(sampling: Sampling) -> Sampling:
    kind, n, batch_size, steps, cap = sampling
    checks.one_of("sampling.kind", kind, KINDS)
    checks.in_range("sampling.n", checks.integer("sampling.n", n, 1), 1, np.iinfo(np.int32).max)
    checks.in_range("sampling.steps", checks.integer("sampling.steps", steps, 1), 1, keys.MAX_SEED)
    checks.integer("sampling.cap", cap, 1)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, float, np.integer, np.floating)):
        raise ValueError(f"sampling.batch_size={batch_size!r} must be a number: the expected rows of a batch.")
    checks.positive("sampling.batch_size", batch_size)
    if batch_size > n:
        raise ValueError(f"sampling.batch_size={batch_size!r} must be at most sampling.n={n}.")
    if kind == "shuffled" and batch_size != cap:
        raise ValueError(
            f"sampling.batch_size={batch_size!r} must be sampling.cap={cap} if kind='shuffled': every batch but the "
            "last of an epoch is full. Build the record with privacy.shuffled(n, batch_size, epochs)."
        )
    # Of one batch: a record whose steps were replaced stays valid. The run's chance is at most steps times this.
    if kind == "poisson" and cap < (needed := _slots(n, batch_size / n, 1)):
        raise ValueError(
            f"sampling.cap={cap} must be at least {needed}: with fewer slots a Poisson batch fails to fit with a "
            f"probability above {MAX_OVERFLOW:g}. Build the record with privacy.poisson(n, batch_size, steps), or with "
            "truncated_poisson, whose accounting includes the cut."
        )
    return sampling


def poisson(n: int, batch_size: float, steps: int, cap: int | None = None) -> Sampling:
    """Describes Poisson sampling: in each step each example takes part by a coin of its own.

      P(example in batch) = batch_size / n, independently over examples and steps

    Batches differ in size, from 0 up, and all have the static shape [cap]. There are enough slots that all batches of
    the run fit, except with a probability below 1e-12 (for 256 of 60,000 and 14,063 steps: 399 slots). If a batch does
    not fit, `draw` raises; it never drops rows. That event adds at most 1e-12 to delta.

    Args:
      n: examples to draw from.
      batch_size: expected rows of a batch, above 0 and at most n; 0.5 is allowed.
      steps: steps of the run.
      cap: slots of a batch, at least as many as None chooses; for example a multiple of a microbatch.

    Returns:
      A Sampling.

    Raises:
      ValueError: for an argument out of range, or a cap that batches overflow more often than that.

    Example:
      >>> poisson(60_000, 256, 14_063).cap
      399
    """
    sampling = _independent("poisson", n, batch_size, steps, 1)
    needed = _slots(sampling.n, sampling.rate, sampling.steps)
    cap = needed if cap is None else checks.integer("cap", cap, 1)
    if cap < needed:
        raise ValueError(
            f"cap={cap} must be at least {needed}: with fewer slots some of {steps} Poisson batches fails "
            f"to fit with a probability above {MAX_OVERFLOW:g}. Or use truncated_poisson: its epsilon covers the cut."
        )
    return sampling._replace(cap=cap)


def truncated_poisson(n: int, batch_size: float, steps: int, cap: int) -> Sampling:
    """Describes Poisson sampling whose larger batches are cut to `cap` rows, a uniformly random subset.

    The cut makes an example's presence depend on the others', which costs privacy; the accountant includes it.

    Args:
      n, batch_size, steps: see `poisson`; batch_size is the expected size before truncation.
      cap: rows of the largest batch and slots of all; mean + 4 standard deviations cost about 1 % of epsilon.

    Returns:
      A Sampling.

    Raises:
      ValueError: for an argument out of range.

    >>> truncated_poisson(60_000, 256, 14_063, cap=320).cap
    320

    Source: Chua et al., "Scalable DP-SGD: shuffling vs. Poisson subsampling" (NeurIPS 2024, arXiv 2411.04205); the
      bound is that of dp_accounting's truncated subsampled Gaussian, a mixture over whether a batch was cut.
    """
    return _independent("truncated_poisson", n, batch_size, steps, checks.integer("cap", cap, 1))


def shuffled(n: int, batch_size: int, epochs: int) -> Sampling:
    """Describes shuffled epochs: all examples in random order, cut into batches, as most training loops do.

    This is not Poisson sampling, and the accountant claims no amplification by sampling. Each example takes part
    exactly once an epoch, which costs one full Gaussian release.

    Args:
      n: examples, all shown once an epoch.
      batch_size: rows of a batch, also its slots; the last of an epoch is padded.
      epochs: passes over the examples.

    Returns:
      A Sampling.

    Raises:
      ValueError: for an argument out of range.

    >>> shuffled(1000, 300, epochs=2).steps  # four batches an epoch, the last with 100 rows
    8
    """
    cap, epochs = checks.integer("batch_size", batch_size, 1), checks.integer("epochs", epochs, 1)
    sampling = _independent("shuffled", n, cap, 1, cap)
    return _independent("shuffled", n, cap, epochs * steps_per_epoch(sampling), cap)
