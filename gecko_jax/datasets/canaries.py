"""Canaries: records that a model can only know by having been trained on them, for audits of private training.

Put them into the pool, draw who is in by fair coins, train, and audit them alone:

    tested = canaries.mislabeled(data.test, 300, data.num_classes, seed=0)
    pool = canaries.append(data.train, tested)
    member = np.concatenate([np.ones(len(data.train.y), bool), datasets.coins(tested.id, 1, seed=0)[0]])

Without a seed the draws come from the operating system. With a seed they also depend on the records and on the count,
so two audits that differ in these test different canaries.

Source: Nasr et al., "Adversary Instantiation" (2021) and Steinke et al. (2023), sec. 6: canaries in the input space.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.digests import sha256
from gecko_jax.types import Examples


def mislabeled(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """Draws `count` records of the data without repetition, each with a wrong label.

    Args:
      data: the records to draw from, which are not trained on otherwise.
      count: number of canaries, at most the number of records.
      classes: number of classes.
      seed: seed of the draw, at least 0; None: a draw that nobody can repeat.

    Returns:
      Examples with new ids below 0.

    Raises:
      ValueError: more canaries than records, or fewer than two classes.

    >>> data = Examples(np.ones((3, 2)), np.array([0, 1, 0]))
    >>> wrong = mislabeled(data, 2, classes=2, seed=0)
    >>> wrong.x.shape, bool((wrong.id < 0).all())
    ((2, 2), True)
    """
    checks.in_range("count", checks.integer("count", count, 1), 1, len(data.y))
    checks.at_least("classes", classes, 2)
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "mislabelled")
    rows = draws.permutation(len(data.y))[:count]
    y = (np.asarray(data.y)[rows] + draws.integers(1, classes, count)) % classes
    return _named(np.asarray(data.x)[rows], y, seed, "mislabelled")


def out_of_distribution(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """Draws `count` records of uniform noise within the data's range, with random labels.

    In a table [n, d], whose features have different units, the range is each feature's; otherwise that of all values.

    Args:
      data, count, classes, seed: see `mislabeled`; count may be any number.

    Returns:
      Examples with new ids below 0.

    Raises:
      ValueError: count below 1, or fewer than two classes.

    >>> out_of_distribution(Examples(np.eye(3), np.arange(3)), 2, classes=3, seed=0).x.shape
    (2, 3)
    """
    checks.integer("count", count, 1)
    checks.at_least("classes", classes, 2)
    x = np.asarray(data.x)
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "out of distribution")
    low, high = (x.min(0), x.max(0)) if x.ndim == 2 else (x.min(), x.max())
    records = draws.uniform(low, high, (count, *x.shape[1:])).astype(x.dtype)
    return _named(records, draws.integers(0, classes, count), seed, "out of distribution")


def blank(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """Builds `count` empty records, each with one different feature at the data's maximum, with random labels.

    In a table [n, d], whose features have different units, the maximum is the feature's; otherwise that of all values.

    An empty record is far from all data, and its gradient is that of the biases and of its one feature alone. Entirely
    empty records would be one canary, many times.

    Args:
      data, count, classes, seed: see `mislabeled`.

    Returns:
      Examples with new ids below 0.

    Raises:
      ValueError: more canaries than features (of a table, features above 0), data without a feature above 0, or fewer
        than two classes.

    >>> blank(Examples(np.eye(3), np.arange(3)), 3, classes=3, seed=0).x.sum(0).tolist()
    [1.0, 1.0, 1.0]
    """
    x = np.asarray(data.x)
    features = int(np.prod(x.shape[1:]))
    top = x.max(0) if x.ndim == 2 else np.full(features, x.max())
    usable = np.flatnonzero(top > 0)
    checks.in_range("count", checks.integer("count", count, 1), 1, len(usable) or features)
    checks.at_least("classes", classes, 2)
    if not len(usable):
        raise ValueError(
            f"data.x has a maximum of {x.max()}; expected a feature above 0, because its maximum distinguishes one "
            "blank canary from another. Scale the features to 0..1, or use out_of_distribution canaries."
        )
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "blank")
    records = np.zeros((count, features), x.dtype)
    chosen = usable[draws.permutation(len(usable))[:count]]
    records[np.arange(count), chosen] = top[chosen]
    return _named(records.reshape(count, *x.shape[1:]), draws.integers(0, classes, count), seed, "blank")


def append(data: Examples, canaries: Examples) -> Examples:
    """Appends canaries to the data.

    Args:
      data: Examples of n records.
      canaries: Examples of k records of the same shape.

    Returns:
      Examples of n + k records, the canaries last.

    Raises:
      ValueError: records of another shape, or ids that both have.

    >>> data = Examples(np.eye(3), np.arange(3))
    >>> len(append(data, blank(data, 2, classes=3, seed=0)).y)
    5
    """
    checks.shape("canaries.x", canaries.x, (None, *np.shape(data.x)[1:]))
    if len(shared := np.intersect1d(data.id, canaries.id)):
        raise ValueError(f"canaries share {len(shared)} ids with the data, the first {shared[0]}.")
    return Examples(*(np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(data, canaries, strict=True)))


CANARIES = {"blank": blank, "mislabeled": mislabeled, "out_of_distribution": out_of_distribution}


def _seed(seed: int | None, data: Examples, count: int, classes: int) -> int:
    """Returns the seed of one set of canaries."""
    if seed is None:
        return keys.secret_seed()
    rows = sha256(*(np.ascontiguousarray(part).tobytes() for part in (data.x, data.y)))
    return keys.derived_seed(seed, rows=rows, count=int(count), classes=int(classes))


def _named(x: np.ndarray, y: np.ndarray, seed: int, kind: str) -> Examples:
    """Gives records ids that no data set has: below 0, and different for each kind and seed."""
    start = keys.generator(seed, "canaries", kind, "ids").integers(2**20, 2**40)
    return Examples(x, y.astype(np.int32), -(start + np.arange(len(y), dtype=np.int64)))
