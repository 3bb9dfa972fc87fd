"""KCD: distillation on the private rows themselves, each labeled by a teacher that never saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.stages import Teachers, student_ids, student_options
from gecko_jax.losses import kullback_leibler
from gecko_jax.training import Fit, cross_fitted_logits, distill
from gecko_jax.types import Examples, Model


def kcd(
    folds: int = 10,
    weight: float = 0.5,
    teacher: Model | None = None,
    teacher_options: Mapping[str, Any] | None = None,
) -> Defense:
    """Builds knowledge cross-distillation, which needs no public data.

      student: argmin of the mean over members of weight * KL(teacher of the row || student) + (1 - weight) * CE(label)

    A student's members are divided into folds. Teacher k is trained on all of them but fold k, and labels fold k.

    Args:
      folds: number of teachers of each student, at least 2 and at most the number of members.
      weight: of the teachers' term, above 0 and at most 1; the labels' term, which remembers members, has the rest.
      teacher: the teachers' architecture; None: the student's.
      teacher_options: of `fit_ensemble`, where the teachers' differ from the student's, such as {"epochs": 100}.

    Raises:
      ValueError: settings out of bounds; when trained, options that the defense sets by itself, such as private
        gradients.

    Source: Chourasia et al., "Knowledge cross-distillation for membership privacy" (PETS 2022, arXiv 2111.01363),
      algorithm 2. The defaults are ours.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> model, member = models.create("mlp", 2, hidden=()), np.ones((1, 4), bool)
    >>> kcd(folds=2).train(model, data, member, epochs=1).loss.shape
    (1, 1)
    """
    checks.integer("folds", folds, 2)
    if not 0 < weight <= 1:
        raise ValueError(f"weight={weight!r} must be above 0 and at most 1; the teachers' term is the defense.")
    loss, teachers = kullback_leibler(temperature=1.0, weight=weight), Teachers("kcd", teacher, teacher_options)

    def train(model: Model, data: Examples, member: Any, *, reference: Examples | None = None, **options: Any) -> Fit:
        del reference  # it needs none
        network, stage = teachers.prepare(model, member, options, folds)
        ids = student_ids(member, options)
        logits = cross_fitted_logits(network, data, member, folds, student_ids=ids, **stage)
        logits = np.where(np.atleast_2d(member)[..., None], logits, 0)  # of others nothing is learned
        return distill(model, data, member, logits, loss, teacher_per_model=True, **student_options(options))

    return Defense("kcd", train=train)
