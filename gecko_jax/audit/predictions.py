"""An audit from saved outputs alone: no model, no training code."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from gecko_jax.attacks import Attack
from gecko_jax.audit.leave_one_out import audit_models
from gecko_jax.audit.one_model import audit_model
from gecko_jax.audit.report import Report
from gecko_jax.files import read_arrays


def from_predictions(path: str | os.PathLike, attacks: Iterable[Attack] | None = None) -> Report:
    """Audits the models whose outputs stand in an .npz file.

    Args:
      path: of a file with the arrays `logits` or `probs` ([n, c] of one model or [m, n, c] of several), `y` [n] labels,
        and `member` [n] or [m, n] bool. Other arrays are not read.
      attacks: which; the usual ones that the models suffice for, if None.

    Returns:
      The Report of `audit_model` for one model's [n, c], of `audit_models` for [m, n, c].

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file that is no whole .npz, an array that is missing, or one of a wrong shape, type or range.
    """
    arrays = _read(path)
    kinds = [name for name in ("logits", "probs") if name in arrays]
    if len(kinds) != 1:
        raise ValueError(f"{path} holds {sorted(arrays)}; expected exactly one of 'logits' and 'probs'.")
    for name in ("y", "member"):
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}; it holds {sorted(arrays)}.")
    outputs = arrays[kinds[0]]
    if outputs.ndim not in (2, 3):
        raise ValueError(f"{kinds[0]} has shape {outputs.shape}; expected (records, classes) or (models, ...).")
    run = audit_model if outputs.ndim == 2 else audit_models
    kind = "logits" if kinds[0] == "logits" else "probabilities"
    return run(outputs, arrays["y"], arrays["member"], attacks, outputs=kind)


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays that an audit reads, of those in the file."""
    try:
        return read_arrays(path, ("logits", "probs", "y", "member"))
    except FileNotFoundError:
        raise FileNotFoundError(f"path={str(path)!r} does not exist; np.savez(path, logits=...) writes one.") from None
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"path={str(path)!r} is no whole .npz of plain arrays ({reason}); it may be truncated. "
            "Save it again with np.savez(path, logits=..., y=..., member=...)."
        ) from error
