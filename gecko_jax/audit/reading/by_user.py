"""Means over users' records, for audits of users by any door that takes values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.reading.users import users_of
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array


def by_user(values: Mapping[str, Array], member: Array, users: Array) -> tuple[dict, np.ndarray, np.ndarray]:
    """Averages signals over each user's records, so that an audit is of users.

    If the signal is a loss less a reference's, the mean is the log of a likelihood ratio of all of the user's records,
    divided by their number.

    Args:
      values: name of a signal, or a Signal -> [n] or [m, n] values of records.
      member: bool [n] or [m, n]; all records of a user are members of a model, or none.
      users: [n] names or numbers.

    Returns:
      (values [g] or [m, g], member [g] or [m, g], names [g]), the users sorted.

    Raises:
      ValueError: shapes that differ, a user with members and non-members, or a user for each record.

    Source: Kandpal et al., "User Inference Attacks on Large Language Models" (2023), eq. 3.

    >>> values, member, names = by_user({"loss": [1.0, 3.0, 9.0]}, [True, True, False], ["ann", "ann", "bo"])
    >>> values["loss"].tolist(), member.tolist(), names.tolist()
    ([2.0, 9.0], [True, False], ['ann', 'bo'])
    """
    truth = as_member(member)
    groups = users_of(users, truth.shape[-1])
    means = {
        key: groups.mean(checks.shape(f"values[{key!r}]", np.asarray(array, np.float64), truth.shape))
        for key, array in values.items()
    }
    return means, groups.mask("member", truth), groups.names
