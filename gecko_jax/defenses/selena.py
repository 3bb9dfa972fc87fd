"""SELENA: self-distillation from an ensemble in which nobody answers for a row that it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.stages import Teachers, student_ids, student_options
from gecko_jax.losses import kullback_leibler
from gecko_jax.training import Fit, distill, split_ai_logits
from gecko_jax.types import Examples, Model


def selena(
    submodels: int = 25,
    withheld: int = 10,
    teacher: Model | None = None,
    teacher_options: Mapping[str, Any] | None = None,
) -> Defense:
    """Builds SELENA: Split-AI's answers on the members, and a student that learns them.

      student: argmin of the mean over members of KL(mean posterior of the sub-models without the row || student)

    The labels enter through the sub-models alone. Each student costs `submodels` trainings beside its own.

    Args:
      submodels: K of each student.
      withheld: L, the sub-models that each row is withheld from, at least 1 and below K.
      teacher: the sub-models' architecture; None: the student's.
      teacher_options: of `fit_ensemble`, where the sub-models' differ from the student's.

    Raises:
      ValueError: numbers out of bounds; when trained, options that the defense sets by itself, such as private
        gradients.

    Source: Tang et al., "Mitigating membership inference attacks by self-distillation through a novel ensemble
      architecture" (USENIX Security 2022, arXiv 2110.08324); K = 25 and L = 10 are theirs.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> model, member = models.create("mlp", 2, hidden=()), np.ones((1, 4), bool)
    >>> selena(submodels=3, withheld=1).train(model, data, member, epochs=1).loss.shape
    (1, 1)
    """
    checks.integer("submodels", submodels, 2)
    checks.in_range("withheld", checks.integer("withheld", withheld, 1), 1, submodels - 1)
    loss, teachers = kullback_leibler(temperature=1.0, weight=1.0), Teachers("selena", teacher, teacher_options)

    def train(model: Model, data: Examples, member: Any, *, reference: Examples | None = None, **options: Any) -> Fit:
        del reference  # it needs none
        network, stage = teachers.prepare(model, member, options, submodels)
        ids = student_ids(member, options)
        logits = split_ai_logits(network, data, member, submodels, withheld, student_ids=ids, **stage)
        logits = np.where(np.atleast_2d(member)[..., None], logits, 0)  # of others nothing is learned
        return distill(model, data, member, logits, loss, teacher_per_model=True, **student_options(options))

    return Defense("selena", train=train)
