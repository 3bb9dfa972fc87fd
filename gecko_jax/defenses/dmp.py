"""DMP: the released model never sees a private row, but a teacher's answers on public ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.defense import Defense, check_reference
from gecko_jax.defenses.stages import Teachers, student_options
from gecko_jax.losses import agreement, kullback_leibler
from gecko_jax.training import Fit, distill, fit_ensemble, predict_ensemble
from gecko_jax.trees import row_count
from gecko_jax.types import Examples, Model


def dmp(
    temperature: float = 1.0,
    share: float = 1.0,
    teacher: Model | None = None,
    teacher_options: Mapping[str, Any] | None = None,
) -> Defense:
    """Builds distillation for membership privacy: a student of a teacher's answers on public rows.

      student: argmin of the mean over public rows x of T^2 KL(softmax(f_teacher(x) / T) || softmax(f_student(x) / T))

    The teacher is not protected and is not released. The labels of the public rows are not read. What the student
    reports beside its loss is its agreement with the teacher. Each student has a teacher of its own, trained on its
    members.

    Args:
      temperature: T, above 0; a higher one leaks less and learns less.
      share: of the public rows, those whose answers have the lowest entropy, above 0 and at most 1. The paper chooses
        them so: a confident answer on a row that is far from the members tells less of them.
      teacher: the teachers' architecture; None: the student's.
      teacher_options: of `fit_ensemble`, where the teachers' differ from the student's, such as {"epochs": 100}.

    Returns:
      A Defense whose `train` needs reference=, rows that are neither members nor evaluated.

    Raises:
      ValueError: settings out of bounds; when trained, no reference or one that shares ids with the pool, and options
        that the defense sets by itself, such as private gradients.

    Source: Shejwalkar and Houmansadr, "Membership privacy for machine learning models through knowledge transfer"
      (AAAI 2021, arXiv 1906.06589).

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> public = Examples(np.ones((3, 4), np.float32), np.zeros(3, np.int32), np.arange(4, 7))
    >>> model, member = models.create("mlp", 2, hidden=()), np.ones((1, 4), bool)
    >>> sorted(dmp().train(model, data, member, reference=public, epochs=1).metrics)
    ['agreement']
    """
    loss = kullback_leibler(temperature, weight=1.0)._replace(name="dmp", metric=agreement())
    if not 0 < share <= 1:
        raise ValueError(f"share={share!r} must be above 0 and at most 1: of the public rows, those that are taught.")
    teachers = Teachers("dmp", teacher, teacher_options)

    def train(model: Model, data: Examples, member: Any, *, reference: Examples | None = None, **options: Any) -> Fit:
        public = check_reference("dmp", reference, data)
        network, stage = teachers.prepare(model, member, options)
        fitted = fit_ensemble(network, data, member, **stage)
        logits = predict_ensemble(network, fitted.variables, public.x)
        rows = row_count("reference.x", public.x)
        taught = _most_certain(logits, max(1, round(share * rows)))
        public = public._replace(y=np.zeros(rows, np.int32))
        return distill(model, public, taught, logits, loss, teacher_per_model=True, **student_options(options))

    checks.positive("temperature", temperature)
    return Defense("dmp", train=train, reads=("reference",))


def _most_certain(logits: np.ndarray, count: int) -> np.ndarray:
    """Returns which rows each model's teacher answers with the lowest entropy, bool [m, n], `count` of each."""
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float64)
    posteriors = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
    entropy = np.log(np.exp(shifted).sum(-1)) - (posteriors * shifted).sum(-1)
    return entropy.argsort(1, kind="stable").argsort(1, kind="stable") < count
