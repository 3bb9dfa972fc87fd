"""Distillation: a student learns from a teacher's logits, if need be of teachers that never saw what they label.

Distillation on the teacher's training data can itself leak membership (Jagielski et al. 2023): a teacher answers
differently on records that it was trained on, and the student learns the difference. A cross-fitted teacher labels only
rows that it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.batches import as_members, check_members
from gecko_jax.losses import symmetric_cross_entropy
from gecko_jax.training.agreement import loss_of
from gecko_jax.training.ensemble import Fit, fit_ensemble
from gecko_jax.training.predict import predict_ensemble
from gecko_jax.types import Array, Examples, Loss, Model


def distill(
    student: Model,
    data: Examples,
    member: Array,
    teacher: Any,
    loss: Loss | None = None,
    *,
    teacher_per_model: bool = False,
    **options,
) -> Fit:
    """Trains m students on their members with a teacher's logits: Gecko's Phase II.

    It is `fit_ensemble` with another loss and nothing else. A control with the same epochs, schedules and start
    therefore differs in the loss alone.

    A private student's epsilon covers the student alone. A teacher that saw the same records leaks them through its
    logits: train it privately too and account for both (`privacy.epsilon`), or take a teacher of other data.

    Args:
      student: the model to train.
      data: the pool of examples, n rows.
      member: bool [m, n], who trains on what.
      teacher: logits [n, classes] of one teacher for all (`predict`); or of each student's own, [m, n, classes]
        (`predict_ensemble`, `cross_fitted_logits`), with teacher_per_model=True.
      loss: one that reads a teacher; None: that of `gradients`, or symmetric cross-entropy (the paper's).
      teacher_per_model: whether `teacher` has a leading axis of the m students. It is never guessed.
      **options: of `fit_ensemble`.

    Raises:
      ValueError: a loss that does not read a teacher, a teacher that is not logits or of another shape than declared,
        or extras of yours.

    Source: Duddu et al., arXiv 2010.00912, section 4.2.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> teacher = np.array([[3, 0], [0, 3], [3, 0], [0, 3]], np.float32)
    >>> distill(models.create("mlp", 2, hidden=()), data, np.ones((1, 4), bool), teacher, epochs=2).loss.shape
    (2, 1)
    """
    loss = loss_of(options.get("gradients"), loss) or loss or symmetric_cross_entropy()
    if "teacher" not in loss.reads:
        raise ValueError(f"loss {loss.name!r} does not read a teacher and would distill nothing: call fit_ensemble.")
    for name in ("extra", "extra_per_model"):
        if name in options:
            raise ValueError(
                f"{name} is set by distill itself: pass the logits as teacher, and teacher_per_model. A loss that "
                "reads more takes fit_ensemble(extra={'teacher': logits, ...})."
            )
    if not hasattr(teacher, "shape") and not isinstance(teacher, (list, Mapping)):
        raise ValueError(
            f"teacher is a {type(teacher).__name__}; expected logits [n, classes]: training.predict(model, variables, "
            "data.x), or of a training.Teacher its logits(data.x)."
        )
    extra = {"teacher": teacher}
    return fit_ensemble(student, data, member, loss=loss, extra=extra, extra_per_model=teacher_per_model, **options)


def cross_fitted_logits(
    teacher: Model,
    data: Examples,
    member: Array,
    folds: int = 2,
    seed: int | None = None,
    student_ids: Sequence[int] | None = None,
    **options,
) -> np.ndarray:
    """Returns logits of teachers on rows that they never saw.

    Each student's members are divided into folds. Teacher k of that student trains on all of its members but fold k,
    and labels fold k. A row that is not a member of that student gets the mean of its teachers.

    Args:
      teacher: the teachers' architecture.
      data: the pool of examples, n rows.
      member: bool [m, n], the students' members.
      folds: at least 2, at most the number of members.
      seed: of the folds (0 if None) and of the teachers: see `fit_ensemble`.
      student_ids: [m] different IDs that select each student's folds; 0..m-1 if None.
      **options: of `fit_ensemble`; `model_ids` and `init` are those of m * folds teachers, student by student.

    Returns:
      float32 [m, n, classes]: `distill` takes them with teacher_per_model=True.

    Raises:
      ValueError: folds out of bounds, members that are not bool [m, n], IDs that are not m different integers.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> cross_fitted_logits(models.create("mlp", 2, hidden=()), data, np.ones((3, 4), bool), epochs=1).shape
    (3, 4, 2)
    """
    member, ids = check_students(member, student_ids)
    checks.in_range("folds", folds, 2, int(member.sum(1).min()))
    fold = np.stack([_folds(row, folds, seed or 0, i) for i, row in zip(ids, member, strict=True)])
    trained_on = np.stack([row & (fold[i] != k) for i, row in enumerate(member) for k in range(folds)])
    fitted = fit_ensemble(teacher, data, trained_on, seed=seed, **options)
    logits = predict_ensemble(teacher, fitted.variables, data.x)
    logits = logits.reshape(len(member), folds, *logits.shape[1:])
    answers = logits.mean(1)
    for i, row in enumerate(member):
        for k in range(folds):
            unseen = row & (fold[i] == k)
            answers[i, unseen] = logits[i, k, unseen]
    return answers


def check_students(member: Array, student_ids: Sequence[int] | None) -> tuple[np.ndarray, Sequence[int]]:
    """Checks who teaches whom, and returns (member: bool [m, n], student_ids: [m] integers).

    Args:
      member: bool [m, n], or [n] of one student.
      student_ids: [m], or None for 0..m-1.

    Raises:
      ValueError: members that are not bool, a student without any, or IDs that are not m different integers.

    >>> check_students(np.ones(3, bool), [4])
    (array([[ True,  True,  True]]), [4])
    """
    member, ids = check_members(as_members(member))
    if student_ids is None:
        return member, ids
    ids = [checks.integer("student_ids", each, 0) for each in student_ids]
    if len(ids) != len(member) or len(set(ids)) != len(ids):
        raise ValueError(
            f"student_ids=[{checks.listed(ids)}] must be {len(member)} different integers, one for each row of member."
        )
    return member, ids


def _folds(row: np.ndarray, folds: int, seed: int, student: int) -> np.ndarray:
    """Returns the fold of each member, in equal shares; -1 for non-members."""
    members = np.flatnonzero(row)
    keys.generator(seed, "folds", student).shuffle(members)
    fold = np.full(len(row), -1)
    fold[members] = np.arange(len(members)) % folds
    return fold
