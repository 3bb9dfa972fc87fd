"""An audit of a file of outputs or of signals: no model, no training code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.from_signals import from_signals
from gecko_jax.audit.many_models import audit_models
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.single_model import audit_model
from gecko_jax.audit.validity.inputs import check_groups
from gecko_jax.files import read_arrays
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Array, Examples

NAMES = {"logits": "logits", "probs": "probabilities", "predicted": "labels"}  # of arrays: what they hold
AT = "@"  # between a signal and the reference model that it was read off
SLICE = "slice:"  # before the name of a slice
POPULATION = "population_"  # before the name of an array of outputs, of labels, or of a signal
OF_RECORDS = (*NAMES, *SIGNALS, "y")  # arrays that records and a population have
READ = (*OF_RECORDS, "member", "classes", "users", *(POPULATION + name for name in OF_RECORDS))
IDS = "id"  # of the records, which may stand in the file and are not read


def from_predictions(
    path: str | os.PathLike,
    attacks: Iterable | str | None = None,
    *,
    classes: Sequence | Array | None = None,
    slices: Mapping[str, Array] | None = None,
    population: str | os.PathLike | None = None,
) -> Report:
    """Audits the models whose outputs, or whose signals, are in an .npz file.

    Args:
      path: of a file with the arrays `logits` or `probs` ([n, c] of one model or [m, n, c] of several; without the last
        axis if binary models have one output) or `predicted` labels ([n] or [m, n]), `y` [n] labels, and `member` [n]
        or [m, n] bool. An array `classes` [c] names the columns. Or, in place of outputs, arrays named after signals
        ("loss": [n] or [m, n]; see `from_signals`); `y` is then optional. Beside signals, "loss@pretrained" [n] is the
        loss of a reference model named "pretrained", and `users` [n] names the users to audit instead of records.
        An array "slice:night" [n] bool marks records to report separately as "night". `population_logits` [z, c] or
        [m, z, c] (or `population_probs`) and `population_y` [z], or `population_loss` [z] or [m, z], are of z other
        records, that none of the models was trained on. An array `id` [n] is not read; others
        are refused.
      attacks: the attacks to run; None for every listed attack that has enough models. See `audit`.
      classes: the label that each column stands for, in place of the file's.
      slices: name -> bool [n], records to report separately, beside the file's.
      population: of a second file, with outputs (or signals) and y of records that none of the models was trained on,
        named as in the first; in place of arrays named `population_...`.

    Returns:
      The Report of `audit_model` if member is [n], of `audit_models` if it is [m, n].

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file that is not a complete .npz, an array that is missing, or one of a wrong shape, type or range;
        an array of another name; signals beside outputs; a slice or a population that is given twice; a second file
        with members, or with other classes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/losses.npz", loss=[0.1, 0.2, 0.9, 0.8], member=[True, True, False, False])
    ...     from_predictions(f"{folder}/losses.npz", attacks=["loss"]).rows["loss"]["auc"].value
    1.0
    """
    arrays = _read(path)
    outputs = [name for name in NAMES if name in arrays]
    values = {name: arrays[name] for name in SIGNALS if name in arrays}
    references, users = _references(path, arrays), arrays.get("users")
    if len(outputs) != 1 and (outputs or not values):
        raise ValueError(
            f"{path} holds {sorted(arrays)}; expected exactly one of 'logits', 'probs' and 'predicted', or signals, "
            "such as 'loss'."
        )
    for name in ("y", "member") if outputs else ("member",):
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}; it holds {sorted(arrays)}.")
    member = arrays["member"]
    if member.ndim not in (1, 2):
        raise ValueError(f"member in {path} has shape {member.shape}; expected (records,) or (models, records).")
    marked, classes = _slices(path, arrays, slices), arrays.get("classes") if classes is None else classes
    unseen, source = _population(path, arrays, population, classes)
    if not outputs:
        records = Examples(None, arrays["y"], None) if "y" in arrays else None
        others = {name: _need(source, unseen, name) for name in values} if unseen else None
        return from_signals(
            values, member, attacks, references=references, users=users, records=records, slices=marked,
            population=others,
        )  # fmt: skip
    (name,) = outputs
    if beside := [each for each in arrays if each in (*SIGNALS, "users") or (AT in each and SLICE not in each)]:
        raise ValueError(
            f"{path} holds {checks.listed(beside)} beside {name!r}; an audit is of outputs or of signals, such as "
            "'loss', and what belongs to these. Save them in two files."
        )
    array = arrays[name]
    if array.ndim not in (1, 2, 3):
        raise ValueError(f"{name} has shape {array.shape}; expected (records, classes) or (models, ...).")
    several = array.ndim == 3 or (member.ndim == 2 and array.shape == member.shape)
    run: Any = audit_models if several else audit_model
    others = (_need(source, unseen, name), _need(source, unseen, "y")) if unseen else None
    return run(
        array, arrays["y"], member, attacks, outputs=NAMES[name], classes=classes, slices=marked, population=others
    )


def _slices(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], given: Mapping[str, Array] | None
) -> Mapping[str, Array] | None:
    """Returns the slices of the file and those of the caller; None without one."""
    slices = {name.removeprefix(SLICE): array for name, array in arrays.items() if name.startswith(SLICE)}
    if twice := sorted(set(slices) & set(given or {})):
        raise ValueError(f"slices holds {checks.listed(twice)}, which {path} holds as well; rename one of them.")
    return check_groups({**slices, **(given or {})}, arrays["member"].shape[-1]) or None


def _population(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    other: str | os.PathLike | None,
    classes: Sequence | Array | None,
) -> tuple[dict[str, np.ndarray], str]:
    """Returns the population's arrays by the names that records have, and where they come from; {} without one."""
    inside = {name: arrays[POPULATION + name] for name in OF_RECORDS if POPULATION + name in arrays}
    if other is None:
        return inside, f"{path}, in arrays named {POPULATION!r}...,"
    if inside:
        raise ValueError(f"{path} holds a population of its own, and population={str(other)!r}; give one of them.")
    unseen = _read(other)
    if known := int(np.count_nonzero(unseen.get("member", 0))):
        raise ValueError(
            f"population={str(other)!r} marks {known} members; a population is of records that none of the models was "
            "trained on: leave the members out, or the array `member` if it is of something else."
        )
    columns = unseen.get("classes")
    if columns is not None and list(columns) != list(range(len(columns)) if classes is None else classes):
        raise ValueError(
            f"population={str(other)!r} has the classes {list(columns)}, and {path} others, or the same in another "
            "order; save outputs with the same columns."
        )
    return unseen, str(other)


def _need(source: str, arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns the population's array of a name."""
    if name not in arrays:
        raise ValueError(f"{source} holds {sorted(arrays)} of the population; expected {name!r} as well.")
    return arrays[name]


def _references(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]] | None:
    """Returns the arrays named "signal@reference" as reference -> signal -> values; None without one."""
    references: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        signal, at, reference = name.partition(AT)
        if name.startswith(SLICE):
            continue
        if at and not (signal in SIGNALS and reference):
            raise ValueError(
                f"{path} has an array {name!r}; expected the name of a signal, {AT!r} and a reference model's, such as "
                "'loss@pretrained'."
            )
        if at:
            references.setdefault(reference, {})[signal] = array
    return references or None


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the arrays of a file but its ids; raises ValueError for a name that no audit reads."""
    unknown: list[str] = []

    def is_read(name: str) -> bool:
        known = name in READ or AT in name or name.startswith(SLICE)
        unknown.extend([name] * (not known and name != IDS))
        return known

    try:
        arrays = read_arrays(path, is_read)
    except FileNotFoundError:
        raise FileNotFoundError(f"path={str(path)!r} does not exist; np.savez(path, logits=...) writes one.") from None
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"path={str(path)!r} is not a complete .npz of plain arrays ({reason}); it may be truncated. "
            "Save it again with np.savez(path, logits=..., y=..., member=...)."
        ) from error
    for name in unknown:
        checks.one_of(f"{path}: the array", name, (*READ, IDS, f"{SLICE}NAME", f"SIGNAL{AT}REFERENCE"))
    return arrays
