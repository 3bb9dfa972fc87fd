"""Who is a member of which model: bool [models, n], keyed by the examples' ids.

Permuting `ids` permutes the columns in the same way, so a reordered file keeps its members. `coins` draws every
membership independently, and `balanced` puts every example in exactly half of the models. Under `balanced` the
memberships of one example are negatively correlated between models, which biases a leave-one-out attack (LiRA
downwards, RMIA and BASE upwards). Prefer `coins` if models are attacked with the help of one another.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, hashes, ranks


def coins(ids: np.ndarray, models: int, seed: int, rate: float = 0.5) -> np.ndarray:
    """Draws memberships by independent coin flips, P(member[i, j]) = rate.

    Each flip is a function of (seed, i, ids[j]) alone.

    Args:
      ids: int64 [n], unique.
      models: number of models m; a larger number does not change the first ones.
      seed: at least 0.
      rate: probability of membership, between 0 and 1.

    Returns:
      bool [m, n].

    Raises:
      ValueError: duplicated ids, models below 1 or a rate outside 0..1.

    Example:
      >>> member = coins(np.arange(1000), models=4, seed=0)
      >>> member.shape, bool((coins(np.arange(1000)[::-1], 4, 0) == member[:, ::-1]).all())
      ((4, 1000), True)
    """
    ids = check_ids(ids)
    checks.at_least("models", models, 1)
    checks.in_range("rate", rate, 0, 1)
    # The upper 53 bits of the hash make a uniform float in [0, 1), as in a random number generator.
    return np.stack([(hashes(ids, seed, "coins", i) >> np.uint64(11)) * 2.0**-53 < rate for i in range(models)])


def balanced(ids: np.ndarray, models: int, seed: int) -> np.ndarray:
    """Draws complementary pairs: each example is a member of either model 2i or model 2i+1.

    Every example is a member of exactly models / 2 models; model 2i has ceil(n / 2) members.

    Args:
      ids: int64 [n], unique, at least two.
      models: number of models m, even.
      seed: at least 0.

    Returns:
      bool [m, n].

    Raises:
      ValueError: duplicated ids, fewer than two of them, or an odd number of models.

    >>> balanced(np.arange(4), models=2, seed=0).sum(0).tolist()
    [1, 1, 1, 1]
    """
    ids = check_ids(ids)
    checks.at_least("models", models, 2)
    if models % 2:
        raise ValueError(f"models={models} must be even: model 2i+1 is the complement of model 2i. Use {models + 1}.")
    checks.at_least("len(ids)", len(ids), 2)
    half = (len(ids) + 1) // 2
    first = np.stack([ranks(ids, seed, "balanced", i) < half for i in range(models // 2)])
    return np.stack([first, ~first], axis=1).reshape(models, len(ids))


def single(ids: np.ndarray, seed: int, size: int) -> np.ndarray:
    """Draws exactly `size` members of one model; a larger size adds members and drops none.

    Args:
      ids: int64 [n], unique.
      seed: at least 0.
      size: number of members, between 1 and n.

    Returns:
      bool [1, n].

    Raises:
      ValueError: duplicated ids or a size outside 1..n.

    >>> int(single(np.arange(10), seed=0, size=3).sum())
    3
    """
    ids = check_ids(ids)
    checks.in_range("size", size, 1, len(ids))
    return (ranks(ids, seed, "single") < size)[None]
