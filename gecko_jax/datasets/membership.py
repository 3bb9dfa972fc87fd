"""Who is a member of which model: bool [models, n], keyed by the examples' ids.

Permuting `ids` permutes the columns in the same way, so that a reordered file keeps its members.
`coins` draws every membership by itself and `balanced` puts every example in exactly half of the models. Under
`balanced` an example's own memberships are negatively correlated between models, which biases a leave-one-out attack
(LiRA downwards, RMIA and BASE upwards): prefer `coins` where models are attacked with the help of one another.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, hashes, ranks


def coins(ids: np.ndarray, models: int, seed: int, rate: float = 0.5) -> np.ndarray:
    """Independent coin flips: P(member[i, j]) = rate, each one a function of (seed, i, ids[j]) alone.

    Args:
      ids: int64 [n], unique.
      models: number of models m; more models leave the first ones as they were.
      seed: at least 0.
      rate: probability of membership, between 0 and 1.

    Returns:
      bool [m, n].

    Raises:
      ValueError: for duplicated ids, models below 1 or a rate outside 0..1.

    Example:
      >>> member = coins(np.arange(1000), models=4, seed=0)
      >>> member.shape, bool((coins(np.arange(1000)[::-1], 4, 0) == member[:, ::-1]).all())
      ((4, 1000), True)
    """
    ids = check_ids(ids)
    checks.at_least("models", models, 1)
    checks.in_range("rate", rate, 0, 1)
    # The hash's upper 53 bits are a uniform float in [0, 1), as a random number generator makes one.
    return np.stack([(hashes(ids, seed, "coins", i) >> np.uint64(11)) * 2.0**-53 < rate for i in range(models)])


def balanced(ids: np.ndarray, models: int, seed: int) -> np.ndarray:
    """Complementary pairs: models 2i and 2i+1 share no example and miss none.

    Every example is a member of exactly models / 2 models; model 2i has ceil(n / 2) members, model 2i+1 the other ones.

    Args:
      ids: int64 [n], unique, at least two.
      models: number of models m, even.
      seed: at least 0.

    Returns:
      bool [m, n].

    Raises:
      ValueError: for duplicated ids, fewer than two of them, or an odd number of models.
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
    """One model with exactly `size` members; a larger size adds members and drops none.

    Args:
      ids: int64 [n], unique.
      seed: at least 0.
      size: number of members, between 1 and n.

    Returns:
      bool [1, n].

    Raises:
      ValueError: for duplicated ids or a size outside 1..n.
    """
    ids = check_ids(ids)
    checks.in_range("size", size, 1, len(ids))
    return (ranks(ids, seed, "single") < size)[None]
