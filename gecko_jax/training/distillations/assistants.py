"""Teacher assistants: networks between teacher and student, each taught by the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from gecko_jax.checks import not_empty
from gecko_jax.losses import kullback_leibler
from gecko_jax.training.distillation import distill
from gecko_jax.training.distillations.distillation import (
    Distillation,
    Teacher,
    check_options,
    check_teacher,
    stage_options,
)
from gecko_jax.training.ensemble import Fit
from gecko_jax.training.pool import first_row
from gecko_jax.types import Examples, Model


def assistants(models: Sequence[Model], temperature: float = 4.0, weight: float = 0.9) -> Distillation:
    """Builds TAKD: teacher -> assistant 1 -> ... -> student, each step with Hinton's loss.

      weight * T^2 * KL(t_T || s_T) + (1 - weight) * (-log s_y)      t: the network before, s: the network that learns

    Every student has assistants of its own, trained on that student's members alone with the student's options (their
    start, schedules of collections and trainable parameters apart).

    Args:
      models: the assistants, the first next to the teacher. Their sizes must not rise on the way to the student.
      temperature, weight: of `losses.kullback_leibler`.

    Raises:
      ValueError: no assistant, or one outside a list; when trained, an assistant with more parameters than its teacher
        or fewer than its pupil, a teacher that is not a Teacher, and options that are fixed.

    Source: Mirzadeh et al., "Improved knowledge distillation via teacher assistant" (AAAI 2020, arXiv 1902.03393),
      equation 3.

    >>> import numpy as np
    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> large, middle, small = (models.create("mlp", 2, hidden=hidden) for hidden in ((8,), (4,), ()))
    >>> teacher = Teacher(large, large.init(jax.random.key(0), data.x))
    >>> assistants([middle]).train(small, data, np.ones((1, 4), bool), teacher, epochs=1).loss.shape
    (1, 1)
    """
    if isinstance(models, Model):
        raise ValueError("models is one Model; expected a list, also of one: assistants([model]).")
    chain = tuple(not_empty("models", tuple(models)))
    loss = kullback_leibler(temperature, weight)

    def train(student: Model, data: Examples, member: Any, teacher: Teacher, **options: Any) -> Fit:
        check_options("assistants", options)
        check_teacher("teacher", teacher)
        _check_sizes([teacher.model, *chain, student], data)
        for number, assistant in enumerate(chain):
            stage = stage_options(options, f"assistant_{number + 1}")
            logits = teacher.logits(data.x)
            fitted = distill(assistant, data, member, logits, loss, teacher_per_model=teacher.per_model, **stage)
            teacher = Teacher(assistant, fitted.variables, per_model=True)
        last = options if options.get("folder") is None else {**options, "folder": f"{options['folder']}/student"}
        return distill(student, data, member, teacher.logits(data.x), loss, teacher_per_model=True, **last)

    return Distillation("assistants", train)


def _check_sizes(chain: Sequence[Model], data: Examples) -> None:
    """Raises ValueError unless no network of the chain has more parameters than the one before it."""
    sizes = [_parameters(model, first_row(data)) for model in chain]
    for number, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        if after > before:
            names = ["the teacher", *(f"models[{i}]" for i in range(len(chain) - 2)), "the student"]
            raise ValueError(
                f"{names[number + 1]} has {after:,} parameters, more than the {before:,} of {names[number]}, which "
                "teaches it; expected sizes that do not rise from the teacher to the student. Order the assistants by "
                "size, or leave this one out."
            )


def _parameters(model: Model, x: Any) -> int:
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
