"""What an audit takes, checked once: outputs, labels, membership; and the designs that bias a figure."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.calibration import as_probabilities
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array

OUTPUTS = ("logits", "probabilities")


def as_logits(name: str, array: Array, outputs: str = "logits") -> np.ndarray:
    """Outputs of models as logits of the same shape [..., n, c].

    Args:
      name: what an error calls them.
      array: logits, or probabilities.
      outputs: which of the two: "logits" or "probabilities".

    Raises:
      ValueError: rows that are not what `outputs` says they are, NaN, or another shape.
    """
    checks.one_of("outputs", outputs, OUTPUTS)
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":  # a foreign type to NumPy, and what accelerators like to return
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; expected real numbers.")
    if array.ndim < 2 or array.shape[-1] < 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected (..., records, classes), two classes or more.")
    if outputs == "probabilities":
        with np.errstate(divide="ignore"):
            return np.log(as_probabilities(name, array))
    if np.isnan(array).any() or np.isposinf(array).any():
        raise ValueError(f"{name} hold NaN or +inf; a diverged model cannot be audited.")
    if array.min() >= 0 and np.abs(array.sum(-1, dtype=np.float64) - 1).max() < 1e-3:
        # A second soft-max would squeeze every confidence towards 1/c, and no figure would show why.
        raise ValueError(f"{name} are probabilities, for every row sums to 1: say outputs='probabilities'.")
    return array


def check_labels(y: Array, records: int, classes: int) -> np.ndarray:
    """y as int64 [records] in 0..classes-1, or a ValueError."""
    y = checks.shape("y", np.asarray(y), (records,))
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected class numbers, not one-hot rows or floats.")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(f"y runs from {y.min()} to {y.max()}; expected 0..{classes - 1}.")
    return y.astype(np.int64)


def check_member(member: Array, shape: tuple[int, ...]) -> np.ndarray:
    """member as bool of `shape`, with two members and two non-members or more in each row, or a ValueError."""
    member = as_member(checks.shape("member", np.asarray(member), shape))
    for i, row in enumerate(np.atleast_2d(member)):
        if min(row.sum(), (~row).sum()) < 2:
            raise ValueError(
                f"member has {int(row.sum())} members and {int((~row).sum())} non-members in row {i}; "
                "an audit needs two or more of each among the records it looks at."
            )
    return member


def check_design(member: np.ndarray) -> list[str]:
    """Warnings about memberships [m, n] that tell something of the target's own row; a ValueError where they tell all.

    The threshold of a target comes from the other models. Where their rows are not independent of its own, the attack
    accuracy is biased: upwards for overlapping training sets, downwards for complementary ones.
    """
    models, records = member.shape
    warnings = []
    centred = member - member.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).mean(1))
    correlation = centred @ centred.T / records / np.outer(scale, scale)
    np.fill_diagonal(correlation, 0.0)
    i, j = np.unravel_index(np.abs(correlation).argmax(), correlation.shape)
    if (member[i] == member[j]).all():
        raise ValueError(
            f"member rows {min(i, j)} and {max(i, j)} are the same: a shadow with the target's own members tells who "
            "they are. Draw each model's members apart (datasets.membership.coins), or audit one model: audit_model."
        )
    if abs(correlation[i, j]) > 0.1 + 4 / np.sqrt(records):
        warnings.append(
            f"members of models {min(i, j)} and {max(i, j)} are correlated ({correlation[i, j]:+.2f}): thresholds "
            "from the other models are not independent of the target; draw members by independent coins"
        )
    if models > 1 and len(np.unique(member.sum(0))) == 1:
        warnings.append(
            f"every record is in exactly {int(member[:, 0].sum())} of the {models} models, so the other models tell a "
            "target's members, which biases attacks by leave-one-out (LiRA down, RMIA and BASE up); draw members by "
            "independent coins"
        )
    return warnings
