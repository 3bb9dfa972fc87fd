"""Split-AI: many sub-models, and for each row the answer of those that were not trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.training.distillation import check_students
from gecko_jax.training.ensemble import fit_ensemble
from gecko_jax.training.predict import predict
from gecko_jax.trees import take
from gecko_jax.types import Array, Examples, Model


def split_ai_logits(
    teacher: Model,
    data: Examples,
    member: Array,
    submodels: int = 25,
    withheld: int = 10,
    seed: int | None = None,
    student_ids: Sequence[int] | None = None,
    **options,
) -> np.ndarray:
    """Returns log-posteriors of sub-models on rows that they never saw.

      log (1/L) sum over the L sub-models k that row j is withheld from of softmax(f_k(x_j))

    Each row is withheld from L of a student's K sub-models, drawn at random; sub-model k trains on the student's
    members that are not withheld from it. A row that is not a member is answered by L sub-models that are drawn in the
    same way, so that neither the number of answers nor their choice says who is a member.

    Args:
      teacher: the sub-models' architecture.
      data: the pool of examples, n rows.
      member: bool [m, n], the students' members.
      submodels: K of each student, at least 2; m * K models are trained.
      withheld: L, at least 1 and below K.
      seed: of the choice of sub-models (0 if None) and of their training: see `fit_ensemble`.
      student_ids: [m] different IDs that select each student's choice; 0..m-1 if None.
      **options: of `fit_ensemble`; `model_ids` and `init` are those of m * submodels sub-models, student by student.

    Returns:
      float32 [m, n, classes], log-posteriors: `distill` takes them with teacher_per_model=True.

    Raises:
      ValueError: numbers out of bounds, members that are not bool [m, n], IDs that are not m different integers, or a
        sub-model without a single member.

    Source: Tang et al., "Mitigating membership inference attacks by self-distillation through a novel ensemble
      architecture" (SELENA, USENIX Security 2022, arXiv 2110.08324), section 4.2; K = 25 and L = 10 are theirs.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> model, member = models.create("mlp", 2, hidden=()), np.ones((1, 4), bool)
    >>> answers = split_ai_logits(model, data, member, submodels=3, withheld=1, seed=1, epochs=1)
    >>> answers.shape, bool(np.allclose(np.exp(answers).sum(-1), 1))
    ((1, 4, 2), True)
    """
    member, ids = check_students(member, student_ids)
    checks.integer("submodels", submodels, 2)
    checks.in_range("withheld", checks.integer("withheld", withheld, 1), 1, submodels - 1)
    answers_from = np.stack([_withheld(member.shape[1], submodels, withheld, seed or 0, i) for i in ids])
    trained_on = member[:, None] & ~answers_from  # [m, K, n]
    if (empty := np.argwhere(~trained_on.any(-1))).size:
        student, number = empty[0]
        raise ValueError(
            f"sub-model {number} of student {student} has no member to train on: {member[student].sum()} members, each "
            f"withheld from {withheld} of {submodels}. Take fewer sub-models, or more members."
        )
    fitted = fit_ensemble(teacher, data, trained_on.reshape(-1, member.shape[1]), seed=seed, **options)
    answers = []
    for student, unseen in enumerate(answers_from):
        total = np.float32(-np.inf)
        for k, rows in enumerate(unseen):
            logits = predict(teacher, take(fitted.variables, student * submodels + k), data.x).astype(np.float32)
            with np.errstate(invalid="ignore"):  # NaN on rows of others, which no student reads
                total = np.where(rows[:, None], np.logaddexp(total, _log_softmax(logits)), total)
        answers.append(total - np.float32(np.log(withheld)))
    return np.stack(answers)


def _withheld(rows: int, submodels: int, withheld: int, seed: int, student: int) -> np.ndarray:
    """Returns which sub-models each row is withheld from, bool [K, rows], exactly `withheld` of them for each row."""
    chances = keys.generator(seed, "split_ai", student).random((rows, submodels))
    return (chances.argsort(1).argsort(1) < withheld).T


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
