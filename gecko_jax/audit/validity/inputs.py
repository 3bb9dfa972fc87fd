"""Checks of membership and slices, and of designs that bias a figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array


def check_member(member: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns member as bool.

    Raises:
      ValueError: another shape than `shape`, or a row with fewer than two members or non-members.
    """
    member = as_member(checks.shape("member", np.asarray(checks.unmasked("member", member)), shape))
    for i, row in enumerate(np.atleast_2d(member)):
        if min(row.sum(), (~row).sum()) < 2:
            raise ValueError(
                f"member has {int(row.sum())} members and {int((~row).sum())} non-members in row {i}; "
                "an audit needs two or more of each among the records it looks at."
            )
    return member


def check_shadows(member: np.ndarray, target: np.ndarray) -> None:
    """Raises ValueError if a shadow model has the target's own members, which it would reveal.

    Args:
      member: [m, n] bool, of the shadow models.
      target: [n] bool.
    """
    same = np.flatnonzero((member == target).all(1))
    if len(same):
        raise ValueError(
            f"member[{same[0]}] is equal to target_member: a shadow with the target's own members, such as the target "
            "itself, reveals them. Take it out of values and member, or leave target= out: then each model is audited "
            "against the others."
        )


def check_groups(groups: Mapping[str, Array], records: int) -> Mapping[str, Array]:
    """Returns the groups.

    Raises:
      ValueError: a group that is not a mask of the records, bool [n].
    """
    for name, group in groups.items():
        mask = np.asarray(group)
        if mask.shape != (records,) or mask.dtype != bool:
            raise ValueError(
                f"slices[{name!r}] has shape {mask.shape} and dtype {mask.dtype}; expected a bool for each of the "
                f"{records} records."
            )
    return groups


def check_design(member: np.ndarray) -> list[str]:
    """Returns warnings about memberships [m, n] that reveal something about a target's own row.

    The threshold of a target comes from the other models. If their rows are not independent of its own, the attack
    accuracy is biased: upwards for overlapping training sets, downwards for complementary ones.

    Raises:
      ValueError: two equal rows, which reveal everything.
    """
    models, records = member.shape
    warnings = []
    centered = member - member.mean(1, keepdims=True)
    scale = np.sqrt((centered**2).mean(1))
    correlation = centered @ centered.T / records / np.outer(scale, scale)
    np.fill_diagonal(correlation, 0.0)
    i, j = np.unravel_index(np.abs(correlation).argmax(), correlation.shape)
    if (member[i] == member[j]).all():
        raise ValueError(
            f"member rows {min(i, j)} and {max(i, j)} are equal: a shadow with the target's own members reveals "
            "them. Draw each model's members apart (datasets.membership.coins), or audit one model: audit_model."
        )
    if abs(correlation[i, j]) > 0.1 + 4 / np.sqrt(records):
        warnings.append(
            f"The members of models {min(i, j)} and {max(i, j)} are correlated ({correlation[i, j]:+.2f}): thresholds "
            "from the other models are not independent of the target. Draw members by independent coins."
        )
    if models > 1 and len(np.unique(member.sum(0))) == 1:
        warnings.append(
            f"Every record is in exactly {int(member[:, 0].sum())} of the {models} models, so the other models reveal "
            "a target's members, which biases attacks by leave-one-out (LiRA down, RMIA and BASE up). Draw members by "
            "independent coins."
        )
    return warnings
