"""The type of a distillation, the teacher that it is given, and what all distillations refuse."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import keys
from gecko_jax.training.distillation import distill
from gecko_jax.training.ensemble import Fit
from gecko_jax.training.predict import predict, predict_ensemble
from gecko_jax.types import Examples, Loss, Model, Variables

FIXED = ("loss", "gradients", "sampling", "extra", "extra_per_model")  # options that a distillation sets by itself
PRIVATE = ("gradients", "sampling")


class Teacher(NamedTuple):
    """A trained network that teaches m students.

    Attributes:
      model: its architecture.
      variables: of one teacher for all students, or with a leading axis [m] of each student's own.
      per_model: whether `variables` have that axis. It is never guessed.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((4, 3), np.float32)
    >>> teacher = Teacher(model, model.init(jax.random.key(0), x))
    >>> teacher.logits(x).shape, teacher.for_each(3)["params"]["logits"]["bias"].shape
    ((4, 2), (3, 2))
    """

    model: Model
    variables: Variables
    per_model: bool = False

    def logits(self, x: Any) -> np.ndarray:
        """Returns the teacher's logits on x, in evaluation mode: [n, classes], or [m, n, classes] if per_model.

        Args:
          x: inputs, a pytree [n, ...].
        """
        return (predict_ensemble if self.per_model else predict)(self.model, self.variables, x)

    def for_each(self, students: int) -> Variables:
        """Returns the variables with a leading axis of the students, a shared teacher's repeated.

        Args:
          students: m.

        Raises:
          ValueError: another number of teachers than of students.
        """
        if not self.per_model:
            return jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], students, axis=0), self.variables)
        for leaf in jax.tree.leaves(self.variables):
            if np.shape(leaf)[:1] != (students,):
                raise ValueError(
                    f"teacher.variables have a leaf of shape {np.shape(leaf)} with per_model=True; expected "
                    f"({students}, ...), one teacher for each student. A teacher for all has per_model=False."
                )
        return jax.tree.map(np.asarray, self.variables)


class Distillation(NamedTuple):
    """A way in which students learn from a teacher.

    Attributes:
      name: as listed in DISTILLATIONS.
      train: (student: Model, data: Examples, member: bool [m, n], teacher: Teacher, **options of `fit_ensemble`) -> Fit
        of the m students. It refuses options of FIXED, which it sets by itself; a killed run with folder= continues.
    """

    name: str
    train: Callable[..., Fit]


def by_loss(name: str, loss: Loss) -> Distillation:
    """Builds the distillation that trains on the teacher's logits with one loss.

    Args:
      name: as listed in DISTILLATIONS.
      loss: a loss that reads a teacher.
    """

    def train(student: Model, data: Examples, member: Any, teacher: Teacher, **options: Any) -> Fit:
        check_options(name, options)
        check_teacher("teacher", teacher)
        logits = teacher.logits(data.x)
        return distill(student, data, member, logits, loss, teacher_per_model=teacher.per_model, **options)

    return Distillation(name, train)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for an option of `fit_ensemble` that a distillation, or a defense by one, sets by itself.

    Args:
      name: of the distillation.
      options: as `Distillation.train` got them.
    """
    for option in FIXED:
        if options.get(option) not in (None, False):
            private = ": private ones would cover the student, and not its teacher" if option in PRIVATE else ""
            raise ValueError(f"{option} is set by {name!r} itself, and yours would be ignored; leave it out{private}.")


def check_teacher(argument: str, teacher: Any) -> None:
    """Raises ValueError for anything but a Teacher, such as logits or a bare model.

    Args:
      argument: its name.
      teacher: what was passed.
    """
    if not isinstance(teacher, Teacher):
        raise ValueError(
            f"{argument} is of type {type(teacher).__name__}; expected training.Teacher(model, variables), because "
            "more than logits is read of it or may be. Students of saved logits: training.distill(..., teacher=logits)."
        )


def stage_options(options: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Returns the options of an earlier training of the same run, with a seed and a folder of its own.

    What belongs to the student alone (its start, what of it is trained, its collections' schedules, who observes it)
    is left out.

    Args:
      options: of `fit_ensemble`, for the student.
      stage: name of the training, and of its folder.
    """
    schedules = {name: f for name, f in (options.get("schedules") or {}).items() if name == "learning_rate"}
    of_student = {"init", "trainable", "observe", "schedules", "seed", "folder"}
    folder: str | os.PathLike[str] | None = options.get("folder")
    return {
        **{name: value for name, value in options.items() if name not in of_student},
        "schedules": schedules or None,
        "seed": keys.derived_seed(options.get("seed") or 0, stage=stage),
        "folder": None if folder is None else Path(folder) / stage,
    }
