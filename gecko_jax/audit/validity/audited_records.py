"""The records that an audit looks at, as one noun: what they are, and who was trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.types import Array


class AuditedRecords(NamedTuple):
    """The n records of an audit, and which of m targets was trained on which.

    Attributes:
      member: [m, n] bool.
      y: [n, ...] labels, or None.
      x: [n, ...] the records; the blind baselines read them and the most exposed are shown. None omits both.
      ids: [n] names of the records, or None.
      slices: name -> bool [n], records to report separately, beside the classes.
      references: name of a reference model -> [n] what it tells by itself, larger for members.
      groups: [n] names of what records belong to, or None; the blind baseline knows no group by its other records.
    """

    member: np.ndarray
    y: np.ndarray | None = None
    x: Any = None
    ids: Array | None = None
    slices: Mapping[str, Array] | None = None
    references: Mapping[str, np.ndarray] = {}
    groups: np.ndarray | None = None

    @property
    def class_numbers(self) -> np.ndarray | None:
        """Returns the labels [n] if they are class numbers, else None."""
        return self.y if self.y is not None and self.y.ndim == 1 and self.y.dtype.kind in "iu" else None

    @property
    def threshold_groups(self) -> np.ndarray:
        """Returns the labels [n] that thresholds may be chosen apart for; all 0 without class numbers."""
        return np.zeros(self.member.shape[1], np.int64) if self.class_numbers is None else self.class_numbers
