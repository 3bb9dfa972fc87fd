"""Canaries: records that a model can only know by having been trained on them, for audits of private training.

Put them into the pool, draw who is in by fair coins, train, and audit them alone:

    tested = canaries.mislabelled(data.test, 300, data.num_classes, seed=0)
    pool = canaries.added(data.train, tested)
    member = np.concatenate([np.ones(len(data.train.y), bool), datasets.coins(tested.id, 1, seed=0)[0]])

Without a seed the draws come from the operating system. With one they depend on the records and on the number asked
for, too, so that two audits which differ in these do not test the same canaries.

Source: Nasr et al., "Adversary Instantiation" (2021) and Steinke et al. (2023), sec. 6: canaries in the input space.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.digests import sha256
from gecko_jax.types import Examples


def mislabelled(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """`count` records of the data, drawn without repetition, each under another label than its own.

    Args:
      data: where they come from; take records that are not trained on otherwise.
      count: at most as many as there are records.
      classes: how many there are.
      seed: of the draw; None for one that nobody can repeat.

    Returns:
      Examples with ids of their own, below 0.

    Raises:
      ValueError: more canaries than records, or fewer than two classes.
    """
    checks.in_range("count", checks.integer("count", count, 1), 1, len(data.y))
    checks.at_least("classes", classes, 2)
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "mislabelled")
    rows = draws.permutation(len(data.y))[:count]
    y = (np.asarray(data.y)[rows] + draws.integers(1, classes, count)) % classes
    return _named(np.asarray(data.x)[rows], y, seed, "mislabelled")


def out_of_distribution(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """`count` records of uniform noise within the data's range, under labels drawn by lot.

    The range is each feature's own in a table [n, d], whose features have units of their own; else that of all values.
    """
    checks.integer("count", count, 1)
    checks.at_least("classes", classes, 2)
    x = np.asarray(data.x)
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "out of distribution")
    low, high = (x.min(0), x.max(0)) if x.ndim == 2 else (x.min(), x.max())
    made = draws.uniform(low, high, (count, *x.shape[1:])).astype(x.dtype)
    return _named(made, draws.integers(0, classes, count), seed, "out of distribution")


def blank(data: Examples, count: int, classes: int, seed: int | None = None) -> Examples:
    """`count` empty records, each with one feature of its own at the data's maximum, under labels drawn by lot.

    The maximum is the feature's own in a table [n, d], whose features have units of their own; else that of all values.

    An empty record is far from all data, and its gradient is that of the biases and of its one feature alone. All of
    them empty would be one canary, many times.

    Raises:
      ValueError: more canaries than features (of a table, features above 0), or data without a feature above 0.
    """
    x = np.asarray(data.x)
    features = int(np.prod(x.shape[1:]))
    top = x.max(0) if x.ndim == 2 else np.full(features, x.max())
    usable = np.flatnonzero(top > 0)
    checks.in_range("count", checks.integer("count", count, 1), 1, len(usable) or features)
    checks.at_least("classes", classes, 2)
    if not len(usable):
        raise ValueError(
            f"data.x runs up to {x.max()}, and needs a feature above 0: its maximum is all that tells one blank canary "
            "from another. Scale the features to 0..1, or take out_of_distribution canaries."
        )
    seed = _seed(seed, data, count, classes)
    draws = keys.generator(seed, "canaries", "blank")
    made = np.zeros((count, features), x.dtype)
    chosen = usable[draws.permutation(len(usable))[:count]]
    made[np.arange(count), chosen] = top[chosen]
    return _named(made.reshape(count, *x.shape[1:]), draws.integers(0, classes, count), seed, "blank")


def added(data: Examples, canaries: Examples) -> Examples:
    """The data with the canaries behind them.

    Raises:
      ValueError: records of another shape, or an id that both have.
    """
    checks.shape("canaries.x", canaries.x, (None, *np.shape(data.x)[1:]))
    if len(shared := np.intersect1d(data.id, canaries.id)):
        raise ValueError(f"canaries share {len(shared)} ids with the data, the first {shared[0]}.")
    return Examples(*(np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(data, canaries, strict=True)))


CANARIES = {"blank": blank, "mislabelled": mislabelled, "out_of_distribution": out_of_distribution}


def _seed(seed: int | None, data: Examples, count: int, classes: int) -> int:
    """The seed of one set of canaries."""
    if seed is None:
        return keys.secret_seed()
    rows = sha256(*(np.ascontiguousarray(part).tobytes() for part in (data.x, data.y)))
    return keys.derived_seed(seed, rows=rows, count=int(count), classes=int(classes))


def _named(x: np.ndarray, y: np.ndarray, seed: int, kind: str) -> Examples:
    """With ids that no data set has: below 0, and apart for each kind and seed."""
    start = keys.generator(seed, "canaries", kind, "ids").integers(2**20, 2**40)
    return Examples(x, y.astype(np.int32), -(start + np.arange(len(y), dtype=np.int64)))
