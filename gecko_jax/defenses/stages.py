"""Defenses that train teachers first and then the student that is released: options of each of the two stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax.defenses.defense import PRIVATE_WAY, refuse_options
from gecko_jax.training.distillations.distillation import FIXED, PRIVATE, stage_options
from gecko_jax.types import Model

OF_THE_MODEL = ("init", "trainable", "schedules")  # options that fit one architecture


class Teachers:
    """The teachers of a defense: which network they are, and how they are trained.

    Args:
      name: of the defense, for messages.
      model: their architecture; None: the student's.
      options: of `fit_ensemble`, where they differ from the student's.
    """

    def __init__(self, name: str, model: Model | None, options: Mapping[str, Any] | None):
        self.name, self.model, self.options = name, model, dict(options or {})
        for option in ("seed", "folder", "model_ids", "observe"):
            if option in self.options:
                raise ValueError(
                    f"teacher_options[{option!r}] would be ignored, because it follows from the student's; leave it "
                    f"out and give it to the train of {name!r}."
                )

    def prepare(self, student: Model, member: Any, options: Mapping[str, Any], each: int = 1) -> tuple[Model, dict]:
        """Returns (the teachers' network, options of their `fit_ensemble`), after checking the student's options.

        Args:
          student: the network that is released.
          member: bool [m, n].
          options: the options of `fit_ensemble` that the students are trained with.
          each: teachers of each student; those of student i have the IDs i * each, i * each + 1, ...
        """
        refuse_options(self.name, options, PRIVATE, PRIVATE_WAY)
        way = "Leave it out; how the teachers differ is said by teacher_options"
        refuse_options(self.name, options, tuple(name for name in FIXED if name not in PRIVATE), way)
        stage = stage_options(options, "teachers")
        if self.model is None:
            stage |= {name: options[name] for name in OF_THE_MODEL if options.get(name) is not None}
            if stage.get("init") is not None:
                stage["init"] = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), each, axis=0), stage["init"])
        gradients = self.options.get("gradients")
        if gradients is not None and not getattr(gradients, "plain", False) and options.get("seed") is None:
            stage["seed"] = None  # a secret one if they hold noise, which a seed derived from the default would tell
        ids = student_ids(member, options)
        model_ids = [i * each + k for i in ids for k in range(each)]
        return self.model or student, {**stage, "model_ids": model_ids, **self.options}


def student_ids(member: Any, options: Mapping[str, Any]) -> list[int]:
    """Returns the students' IDs, those of `options` or 0..m-1.

    Args:
      member: bool [m, n].
      options: of `fit_ensemble`.
    """
    ids = options.get("model_ids")
    return list(range(len(np.atleast_2d(member)))) if ids is None else [int(each) for each in ids]


def student_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the students' options, their folder beside that of the teachers.

    Args:
      options: of `fit_ensemble`.
    """
    folder = options.get("folder")
    return {**options, "folder": None if folder is None else Path(folder) / "student"}
