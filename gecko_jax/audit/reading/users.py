"""User-level audits: all rows of a user are one record, a member if the user is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array
from gecko_jax.user_names import with_one_spelling


class Users(NamedTuple):
    """Which user each of n records is of.

    Attributes:
      names: [g] the users, sorted.
      index: int [n], each record's place among the names.
      counts: int [g], how many records each has.
    """

    names: np.ndarray
    index: np.ndarray
    counts: np.ndarray

    def mean(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
        """Returns the mean over each user's records: an axis [n] becomes [g]."""
        rows = np.moveaxis(np.asarray(values, np.float64), axis, 0)[np.argsort(self.index, kind="stable")]
        starts = np.cumsum(self.counts) - self.counts
        sums = np.add.reduceat(rows, starts, axis=0)
        return np.moveaxis(sums / self.counts.reshape(-1, *[1] * (rows.ndim - 1)), 0, axis)

    def sums(self, rows: Any) -> Any:
        """Returns the sums over each user's records of a sparse matrix [n, d]: [g, d]."""
        from scipy import sparse

        records = np.arange(len(self.index))
        return sparse.csr_matrix((np.ones(len(records), rows.dtype), (self.index, records))) @ rows

    def readings(self, readings: Readings, axis: int) -> Readings:
        """Returns values of signals [..., n, *axes] as means over each user's records; `axis` is that of the n."""
        values = {name: self.mean(array, axis) for name, array in readings.values.items()}
        return readings._replace(values=values)

    def mask(self, name: str, mask: np.ndarray) -> np.ndarray:
        """Returns bool [..., n] as bool [..., g].

        Raises:
          ValueError: a user with records of both kinds.
        """
        share = self.mean(mask)
        mixed = np.argwhere((share > 0) & (share < 1))
        if len(mixed):
            *model, user = (int(part) for part in mixed[0])
            which, count = f"{name}[{model[0]}]" if model else name, self.counts[user]
            raise ValueError(
                f"{which} marks {round(share[(*model, user)] * count)} of the {count} records of "
                f"user {user} (of np.unique(users)); expected all or none. Draw members by user, not by row."
            )
        return share > 0.5

    def note(self) -> str:
        """Returns a sentence for a report: that it is of users."""
        fewest, most = int(self.counts.min()), int(self.counts.max())
        rows = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return (
            f"Each record of this report is a user: {len(self.names)} users with {rows} rows each, whose signals are "
            "averaged. User i is the i-th of np.unique(users)."
        )


def check_rows_of_users(users: Users, claim: Epsilon | None, of_rows: Mapping[str, Any]) -> None:
    """Raises ValueError for arguments that are of rows, and for a claim that does not cover a user's rows.

    Args:
      users: of the audited records.
      claim: a guarantee to hold the audit against, or None.
      of_rows: name of an argument -> its value; None if it was not given.
    """
    for name, value in of_rows.items():
        if value is not None:
            raise ValueError(
                f"{name}= is of records, and users= makes the audit one of users: leave one of them out. "
                "audit.by_user averages values beforehand."
            )
    most = max(int(users.counts.max()), getattr(claim, "rows_per_user", 1))
    if isinstance(claim, Epsilon) and claim.records < most:
        raise ValueError(
            f"claimed_epsilon protects {claim.records} record of a user together, and a user has up to {most}, here or "
            "in training; say what it guarantees to a user, privacy.user_epsilon(claimed_epsilon, users), or leave it "
            "out."
        )


def users_of(users: Array, records: int) -> Users:
    """Returns the users of n records.

    Args:
      users: [n] names or numbers.
      records: n.

    Raises:
      ValueError: another shape, floats, one user in two spellings, or a user for each record.

    >>> users_of(["b", "a", "b"], 3).mean(np.array([1.0, 5.0, 3.0])).tolist()
    [5.0, 2.0]
    """
    array = checks.shape("users", np.asarray(checks.unmasked("users", users)), (records,))
    if array.dtype.kind not in "biuUSO":
        raise ValueError(f"users has dtype {array.dtype}; expected a name or a number for each record.")
    array = with_one_spelling("users", array)
    try:
        names, index, counts = np.unique(array, return_inverse=True, return_counts=True)
    except TypeError:
        raise ValueError("users mixes types that cannot be sorted (None beside names?); name every user.") from None
    if len(names) == records:
        raise ValueError(f"users names {records} users for {records} records: leave it out, the audit is of rows.")
    return Users(names, index.reshape(-1), counts)
