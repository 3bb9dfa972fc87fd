"""Checked values of an audit of saved signals, before attacks read them: of records, or of users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gecko_jax.audit.reading.named_references import NamedReferences
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.users import Users
from gecko_jax.types import Array


class SavedAudit(NamedTuple):
    """What a caller saved of targets, shadows and references on n records.

    Attributes:
      readings: of one target [n], of m targets [m, n], or of the m shadows of `target`.
      member: bool, of the readings' shape.
      target: readings [n] of the one target beside its shadows, or None.
      target_member: bool [n]; None without `target`.
      slices: name -> bool [n], or None.
      references: of named models, or None.
      groups: [n] names of what records belong to, or None.
    """

    readings: Readings
    member: np.ndarray
    target: Readings | None = None
    target_member: np.ndarray | None = None
    slices: Mapping[str, Array] | None = None
    references: NamedReferences | None = None
    groups: np.ndarray | None = None

    def by_user(self, users: Users) -> SavedAudit:
        """Returns the same of users: means of signals, and users who are members with all of their records."""
        return SavedAudit(
            users.readings(self.readings, self.member.ndim - 1),
            users.mask("member", self.member),
            None if self.target is None else users.readings(self.target, 0),
            None if self.target_member is None else users.mask("target_member", self.target_member),
            self.slices and {name: users.mask(f"slices[{name!r}]", np.asarray(m)) for name, m in self.slices.items()},
            self.references and self.references.map(lambda one: users.readings(one, 0)),
        )

    def with_ratios(self) -> tuple[Readings, Readings | None]:
        """Returns the readings and the target's, with their ratios to the references if there are any."""
        if self.references is None:
            return self.readings, self.target
        ratios = self.references.ratios
        return ratios(self.readings), None if self.target is None else ratios(self.target)
