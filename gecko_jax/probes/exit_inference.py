"""Which exit of a multi-exit model answered a record, guessed from the time that the answer took or from the answer."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.networks import fit_network
from gecko_jax.signals.top_posteriors import largest_probabilities
from gecko_jax.types import Array

GRID = 512  # points at which the density is compared
MARGIN = 3.0  # bandwidths beyond the shortest and the longest time
MAX_BANDWIDTHS = 10**5  # between the shortest and the longest time: beyond, the two are in different units


def exits_from_times(times: Array, count: int, bandwidth: float = 0.15) -> np.ndarray:
    """Guesses which exit answered each record from the time it took, without a shadow model or labels.

    The density of the times, by Gaussian kernels, is cut at its local minima, and the parts are numbered from the
    shortest times. If there are more minima than count - 1, those count at which the density falls most below the lower
    of the two peaks beside it. If there are fewer, fewer exits are told apart, and the numbers of the later ones are
    too small.

    Args:
      times: float [n], in any unit.
      count: how many exits there are, the network's own output among them.
      bandwidth: standard deviation of a kernel, in the unit of `times`. The default is the paper's, in milliseconds on
        its processor; a device of microseconds needs its own, a few times the spread of one exit's times.

    Returns:
      int64 [n], numbers from 0.

    Raises:
      ValueError: no times, times that are not finite, a bandwidth that is not above 0, or is below the times' range by
        a factor of more than 100,000.

    Source: Li et al., CCS 2022 (arXiv 2208.11180), section 6, which takes the first count - 1 minima on a grid of 50
    points.

    >>> exits_from_times(np.array([1.0, 1.1, 5.0, 1.05, 4.9]), count=2).tolist()
    [0, 0, 1, 0, 1]
    """
    checks.integer("count", count, 1)
    checks.positive("bandwidth", bandwidth)
    values = checks.finite("times", checks.not_empty("times", np.asarray(times, np.float64)))
    checks.shape("times", values, (None,))
    if (apart := values.max() - values.min()) > MAX_BANDWIDTHS * bandwidth:
        raise ValueError(
            f"bandwidth={bandwidth!r} is {bandwidth / apart:.1g} of the range of times, {values.min():g} to "
            f"{values.max():g}; expected at least {1 / MAX_BANDWIDTHS:g} of it. Give it in the unit of `times`."
        )
    low, high = values.min() - MARGIN * bandwidth, values.max() + MARGIN * bandwidth
    steps = max(GRID, int(np.ceil(4 * (high - low) / bandwidth)))  # four points a bandwidth, or valleys are missed
    grid = np.linspace(low, high, steps)
    distinct, counts = np.unique(values, return_counts=True)
    density = np.zeros(steps)
    for value, number in zip(distinct, counts, strict=True):
        density += number * np.exp(-(((grid - value) / bandwidth) ** 2) / 2)
    return np.searchsorted(grid[_cuts(density, count - 1)], values, side="right")


def _cuts(density: np.ndarray, most: int) -> np.ndarray:
    """Returns the places of at most `most` local minima, in order: those of the deepest valleys."""
    slope = np.sign(np.diff(density))
    moving = np.flatnonzero(slope)
    corners = [(int(a), int(b)) for a, b in zip(moving[:-1], moving[1:], strict=True) if slope[a] != slope[b]]
    peaks = [(a + b + 1) // 2 for a, b in corners if slope[a] > 0]
    valleys = [(a + b + 1) // 2 for a, b in corners if slope[a] < 0]
    depth = [density[v] / min(density[peaks[i]], density[peaks[i + 1]]) for i, v in enumerate(valleys)]
    return np.sort(np.asarray(valleys, int)[np.argsort(depth, kind="stable")[:most]])


def exits_from_posteriors(seen: Array, seen_exits: Array, logits: Array) -> np.ndarray:
    """Guesses which exit answered each record from the three largest probabilities, by a network trained on shadows.

    Args:
      seen: [m, n, c] released logits of shadow models.
      seen_exits: int [m, n], the exits that answered; the attacker made the shadows, and knows.
      logits: [..., n', c] released logits of the target, or of any model.

    Returns:
      int64 [..., n'], numbers from 0.

    Raises:
      ValueError: shapes that do not fit, exits that are not integers, logits that are not a classifier's, or of other
        classes than `seen`.

    Source: Li et al., CCS 2022 (arXiv 2208.11180), section 6.

    >>> rng = np.random.default_rng(0)
    >>> exits = rng.integers(0, 2, (2, 50))
    >>> seen = rng.normal(size=(2, 50, 3)) + np.where(exits, 0.0, 8.0)[..., None] * np.eye(3)[0]
    >>> float((exits_from_posteriors(seen, exits, seen) == exits).mean()) > 0.9
    True
    """
    features = largest_probabilities(seen, np.zeros(np.shape(seen)[-2:-1], np.int64))
    numbers = checks.shape("seen_exits", np.asarray(seen_exits), features.shape[:-1])
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"seen_exits has dtype {numbers.dtype}; expected the numbers of the exits, integers from 0.")
    wanted = largest_probabilities(logits, np.zeros(np.shape(logits)[-2:-1], np.int64))
    if np.shape(logits)[-1] != np.shape(seen)[-1]:
        raise ValueError(
            f"logits has {np.shape(logits)[-1]} classes, seen {np.shape(seen)[-1]}; expected those of one task."
        )
    names = np.unique(numbers)
    if len(names) == 1:
        return np.full(wanted.shape[:-1], names[0])
    chances = fit_network(features.reshape(-1, features.shape[-1]), numbers.reshape(-1))
    return names[chances(wanted.reshape(-1, wanted.shape[-1])).argmax(-1)].reshape(wanted.shape[:-1])
