"""People with several examples: what a run guarantees to them, and how to bound the number of their examples.

The unit of `privacy.epsilon` is one example: a row of tokens, an image. An author of twenty rows has a weaker
guarantee, `user_epsilon`, and a planted secret that is repeated twenty-five times has as weak a one.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.privacy.accounting.epsilon import Epsilon
from gecko_jax.privacy.accounting.groups import group_epsilon
from gecko_jax.user_names import normalized_names


def user_epsilon(spent: Epsilon, users: Any) -> Epsilon:
    """Returns what a run guarantees to each person, all of whose examples are added or removed (or replaced) at once.

    The figure is that of the person with the most examples, by group privacy. It holds for data in which nobody has
    more; `limit_rows_per_user` sees to that beforehand. It grows quickly: see `group_epsilon`.

    Args:
      spent: the epsilon of one example, such as `run.epsilon`.
      users: the names [n] of the people whom the examples belong to.

    Returns:
      An Epsilon with `records` examples of one person.

    Raises:
      ValueError: a figure that covers several examples already, is not a bound, or does not say what it accounts for;
        another number of users than examples, or one without a name.

    >>> from gecko_jax import privacy
    >>> spent = privacy.epsilon(privacy.poisson(100, 100, steps=1), 4.0, 1e-5)
    >>> each = user_epsilon(spent, ["ann"] * 4 + [f"user {i}" for i in range(96)])
    >>> each.records, round(float(spent), 3), round(float(each), 3)
    (4, 0.926, 4.377)
    """
    if not isinstance(spent, Epsilon) or not spent.phases or spent.records != 1 or spent.accountant == "clt":
        raise ValueError(
            f"spent={str(spent)!r} must be an upper bound for one example that names its phases, as privacy.epsilon "
            "and private_training return it: group privacy is computed from these."
        )
    most = rows_per_user(users, max(phase.sampling.n for phase in spent.phases))
    samplings = [phase.sampling for phase in spent.phases]
    noise = [phase.noise_multiplier for phase in spent.phases]
    counts = [phase.count_noise_multiplier for phase in spent.phases]
    each = group_epsilon(samplings, noise, spent.delta, most, spent.adjacency, counts)
    return each._replace(rows_per_user=most)


def limit_rows_per_user(users: Any, limit: int, seed: int = 0) -> np.ndarray:
    """Chooses at most `limit` examples of each person at random.

    Each person's choice depends on their name, their number of examples and the seed alone, so that no other choice
    changes if a person is added or removed. Group privacy needs this.

    Args:
      users: the names [n] of the people whom the examples belong to.
      limit: the most examples that one person keeps, at least 1.
      seed: of the draw, at least 0.

    Returns:
      bool [n], whether each example is kept.

    Raises:
      ValueError: an argument out of its bounds, users of another shape, or an example without a name.

    >>> limit_rows_per_user(["ann", "ann", "bo", "ann"], limit=2).sum().item()
    3
    """
    limit, names = checks.integer("limit", limit, 1), normalized_names("users", users)
    chosen = np.zeros(len(names), bool)
    order = np.argsort(names, kind="stable")
    for places in np.split(order, np.flatnonzero(names[order][1:] != names[order][:-1]) + 1):
        draws = keys.generator(seed, "rows of a user", str(names[places[0]]))
        chosen[places[draws.permutation(len(places))[:limit]]] = True
    return chosen


def rows_per_user(users: Any, n: int) -> int:
    """Returns the most examples that one person has.

    Args:
      users: the names [n] of the people whom the examples belong to.
      n: number of examples.

    Raises:
      ValueError: another number of users, or an example without a name.

    >>> rows_per_user(["ann", "bo", "ann"], 3)
    2
    """
    names = normalized_names("users", users)
    if len(names) != n:
        raise ValueError(f"users has {len(names):,} names for n={n:,} examples; give one for each, in their order.")
    return int(np.unique(names, return_counts=True)[1].max())


def check_users(users: Any, n: int, records: int) -> int:
    """Returns `rows_per_user`, and warns if it exceeds the records of one person that epsilon protects together.

    Args:
      users, n: see `rows_per_user`.
      records: of `private_training`.

    >>> check_users(["ann", "bo"], 2, records=1)
    1
    """
    if (most := rows_per_user(users, n)) > records:
        unit = "one example" if records == 1 else f"{records:,} examples of one person"
        warnings.warn(
            f"epsilon protects {unit}, and one person has {most:,} of the {n:,} here: it is not a guarantee for "
            "people. privacy.user_epsilon(run.epsilon, users) says what they get. For a guarantee keep few rows of "
            "each, privacy.limit_rows_per_user(users, k), and pass records=k.",
            UserWarning,
            stacklevel=3,
        )
    return most
