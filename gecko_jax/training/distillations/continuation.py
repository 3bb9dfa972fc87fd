"""Continuation-KD: an easy objective first, the labels last."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import at_least, finite, integer
from gecko_jax.hooks import refuse_collection
from gecko_jax.losses import accuracy, annealed_hinge
from gecko_jax.losses.cross_entropy import check_classes, label_cross_entropy
from gecko_jax.losses.distillation import teacher_logits
from gecko_jax.losses.shapes import class_numbers
from gecko_jax.training.distillations.beside import beside, fit_beside
from gecko_jax.training.distillations.distillation import Distillation, Teacher, check_options, check_teacher
from gecko_jax.training.ensemble import Fit
from gecko_jax.training.objectives import GradFn, mean_loss, objective_gradients
from gecko_jax.trees import trainable_patterns
from gecko_jax.types import Batch, Examples, Loss, Model

SHARE = "continuation"  # the collection that holds the share of the run that is done
ROUNDING = 1e-4  # above float32's, so that 3/20 of 20 steps are three


def continuation(temperature: int = 20, margin: float = 1.0, labels_at: float = 0.75) -> Distillation:
    """Builds Continuation-KD, whose objective grows from a damped teacher's logits to the labels.

      psi * (-log s_y) + (1 - psi) * max(0, |s - phi t|^2 - margin * phi),      s, t: logits of student and teacher
      phi = (1 + floor(temperature * u)) / temperature,   psi = min(1, u / labels_at),   u: share of the run, 0 to 1

    Both are constant within an epoch. The best checkpoint on validation data, which the paper returns, is not selected:
    the last epoch's is.

    Args:
      temperature: number of steps in which the damping phi rises to 1; the paper takes 20 on CIFAR-10.
      margin: distance to the teacher's logits that is not penalized, at least 0. The paper does not print its own.
      labels_at: share of the run after which the labels alone are left, above 0 and at most 1; 0.75 on CIFAR-10. It is
        Annealing-KD, but for the change of the objective, with margin=0.

    Raises:
      ValueError: settings out of bounds; when trained, options that are fixed, a schedule or a start of the collection
        "continuation" among them.

    Source: Jafari et al., "Continuation KD" (EMNLP 2022 findings, arXiv 2212.05998), equations 3 to 5 and 7.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> model = models.create("mlp", 2, hidden=())
    >>> teacher = Teacher(model, model.init(jax.random.key(0), data.x))
    >>> fitted = continuation().train(model, data, np.ones((1, 4), bool), teacher, epochs=2)
    >>> fitted.loss.shape, sorted(fitted.variables)
    ((2, 1), ['params'])
    """
    integer("temperature", temperature, 1)
    at_least("margin", finite("margin", margin), 0)
    if not 0 < labels_at <= 1:
        raise ValueError(f"labels_at={labels_at!r} must be above 0 and at most 1, a share of the run.")
    settings = (int(temperature), float(margin), float(labels_at))

    def train(student: Model, data: Examples, member: Any, teacher: Teacher, **options: Any) -> Fit:
        check_options("continuation", options)
        refuse_collection("continuation", SHARE, options)
        check_teacher("teacher", teacher)
        start = {"share": np.zeros(len(np.atleast_2d(member)), np.float32)}
        model = beside(student, SHARE, {"share": jax.ShapeDtypeStruct((), np.float32)})
        options["schedules"] = {**(options.get("schedules") or {}), SHARE: _share_done}
        options["gradients"] = _gradients(model, settings, trainable_patterns(options.get("trainable")))
        options |= {"extra": {"teacher": teacher.logits(data.x)}, "extra_per_model": teacher.per_model}
        return fit_beside(SHARE, start, student, data, member, **options)

    return Distillation("continuation", train)


def _share_done(share: float) -> float:
    return share


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, settings: tuple[int, float, float], trainable: tuple[str, ...] | None) -> GradFn:
    temperature, margin, labels_at = settings

    def loss_at(share: Any) -> Loss:
        damping = (1 + jnp.minimum(jnp.floor(temperature * share + ROUNDING), temperature - 1)) / temperature
        of_labels = jnp.minimum(1.0, share / labels_at)

        def apply(logits, example: Batch):
            hinge = annealed_hinge(logits, teacher_logits(logits, example), damping, margin)
            of_label = label_cross_entropy(logits, class_numbers("continuation", example.y))
            return of_labels * of_label + (1 - of_labels) * hinge

        return Loss("continuation", apply)

    def objective(variables, batch, real, key):
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        return mean_loss(loss_at(variables[SHARE]["share"]), outputs, batch, real), outputs, updates

    loss = Loss("continuation", loss_at(1.0).apply, accuracy(), reads=("teacher",), check=_check)
    return objective_gradients(objective, loss, trainable)


def _check(outputs: Any, data: Batch) -> None:
    """Raises ValueError for classes without a logit, and for teacher's logits that are not finite."""
    check_classes(outputs, data)
    finite("teacher's logits", (data.extra or {})["teacher"])
