"""TimeGuard: delays the early answers of a multi-exit model, so that the time does not tell which exit answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.defenses.defense import Defense
from gecko_jax.digests import row_digests
from gecko_jax.types import Array

SLOWEST = 100  # records, whose mean time is the cap


def time_guard(spread: float = 1.0, seed: int | None = None, cap_seconds: float | None = None) -> Defense:
    """Builds answers at min(t + |N(0, (spread * cap)^2)|, cap), and not before t; training and logits are as they are.

    The noise is a function of the record's numbers, whatever type they come in, and of a seed, so that the same query
    is always delayed by the same time, and repeating it does not average the noise out. Who knows the seed can subtract
    it, and who may change a record without changing its answer draws again: then only a large `spread` helps, under
    which all answers take the longest time. What the logits tell of the exit stays (`probes.exits_from_posteriors`).

    Args:
      spread: standard deviation of the noise in units of the cap, above 0. The larger, the fewer early answers stay
        early, and the less time the exits save.
      seed: of the noise; None: 128 secret bits of the operating system, of this object alone. Give a seed only to
        repeat a study.
      cap_seconds: the time after which no answer is delayed further; None: the mean of the 100 longest times of each
        call, as in the paper; if fewer records leave late, that lies between the exits, and those stand out. Give the
        time of the last exit then, or if answers are given one by one.

    Raises:
      ValueError: a spread or a cap that is not above 0; when called, times that are not finite or below 0, or of
        another number than the records.

    Source: Li et al., "Auditing Membership Leakages of Multi-Exit Networks", CCS 2022 (arXiv 2208.11180), section 7,
    with the noise seeded by a hash of the input; the hash is keyed here, because an attacker could else compute it.

    >>> x, seconds = np.eye(3, dtype=np.float32), np.array([0.001, 0.001, 0.004])
    >>> delay = time_guard(seed=0, cap_seconds=0.004).delay
    >>> bool((delay(seconds, x) == delay(seconds, x)).all()), delay(seconds, x).round(5).tolist()
    (True, [0.00336, 0.00317, 0.004])
    """
    checks.positive("spread", spread)
    if cap_seconds is not None:
        checks.positive("cap_seconds", cap_seconds)
    root = keys.secret_seed() if seed is None else keys.checked_seed(seed)

    def delay(times: Array, x: Array) -> np.ndarray:
        seconds = checks.not_empty("times", np.asarray(times, np.float64))
        if seconds.ndim != 1 or not np.isfinite(seconds).all() or seconds.min() < 0:
            raise ValueError(f"times has shape {seconds.shape}; expected seconds [records], finite and 0 or more.")
        [rows] = row_digests(_as_computed(x))
        if len(rows) != len(seconds):
            raise ValueError(f"x has {len(rows)} records and times {len(seconds)}; expected one time for each.")
        cap = np.sort(seconds)[-SLOWEST:].mean() if cap_seconds is None else cap_seconds
        noise = np.array([keys.generator(root, "time_guard", row.hex()).normal() for row in rows])
        return np.maximum(seconds, np.minimum(seconds + np.abs(spread * cap * noise), cap))

    return Defense("time_guard", delay=delay)


def _as_computed(x: Any) -> Any:
    """Returns numbers in one type, because what the network does not see must draw no new noise; the rest as it is."""
    if isinstance(x, (tuple, Mapping)):
        return {str(i): _as_computed(leaf) for i, leaf in enumerate(jax.tree.leaves(x))}
    array = np.asarray(x)
    return array.astype(np.float32) if array.dtype.kind in "biuf" else array
