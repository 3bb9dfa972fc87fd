"""An audit from saved outputs alone: no model, no training code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from gecko_jax.attacks import Attack
from gecko_jax.audit.many_models import audit_models
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.single_model import audit_model
from gecko_jax.files import read_arrays

NAMES = {"logits": "logits", "probs": "probabilities", "predicted": "labels"}  # of arrays: what they hold


def from_predictions(
    path: str | os.PathLike, attacks: Iterable[Attack] | str | None = None, *, classes: Sequence | None = None
) -> Report:
    """Audits the models whose outputs stand in an .npz file.

    Args:
      path: of a file with the arrays `logits` or `probs` ([n, c] of one model or [m, n, c] of several; of binary models
        with one output without the last axis) or `predicted` labels ([n] or [m, n]), `y` [n] labels, and `member` [n]
        or [m, n] bool. An array `classes` [c] names the columns. Other arrays are not read.
      attacks: which; every listed one that the models suffice for, if None. See `audit`.
      classes: the label that each column stands for, in place of the file's.

    Returns:
      The Report of `audit_model` if member is [n], of `audit_models` if it is [m, n].

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file that is no whole .npz, an array that is missing, or one of a wrong shape, type or range.
    """
    arrays = _read(path)
    kinds = [name for name in NAMES if name in arrays]
    if len(kinds) != 1:
        raise ValueError(f"{path} holds {sorted(arrays)}; expected exactly one of 'logits', 'probs' and 'predicted'.")
    for name in ("y", "member"):
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}; it holds {sorted(arrays)}.")
    outputs, member = arrays[kinds[0]], arrays["member"]
    if outputs.ndim not in (1, 2, 3):
        raise ValueError(f"{kinds[0]} has shape {outputs.shape}; expected (records, classes) or (models, ...).")
    several = outputs.ndim == 3 or (member.ndim == 2 and outputs.shape == member.shape)
    run = audit_models if several else audit_model
    classes = arrays.get("classes") if classes is None else classes
    return run(outputs, arrays["y"], member, attacks, outputs=NAMES[kinds[0]], classes=classes)


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays that an audit reads, of those in the file."""
    try:
        return read_arrays(path, (*NAMES, "y", "member", "classes"))
    except FileNotFoundError:
        raise FileNotFoundError(f"path={str(path)!r} does not exist; np.savez(path, logits=...) writes one.") from None
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"path={str(path)!r} is no whole .npz of plain arrays ({reason}); it may be truncated. "
            "Save it again with np.savez(path, logits=..., y=..., member=...)."
        ) from error
