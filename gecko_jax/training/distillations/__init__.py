"""Ways in which students learn from a trained teacher. A new one: one file and one line in DISTILLATIONS.

    teacher = Teacher(model, trained.variables)
    fitted = DISTILLATIONS["continuation"]().train(student, data, member, teacher, epochs=30)

`training.distill` is the first step of all: one loss on logits that may come from anywhere, also from teachers that
never saw what they label (`cross_fitted_logits`).
"""

from gecko_jax.training.distillations.assistants import assistants
from gecko_jax.training.distillations.by_logits import hard_labels, kullback_leibler, symmetric_cross_entropy
from gecko_jax.training.distillations.continuation import continuation
from gecko_jax.training.distillations.distillation import Distillation, Teacher
from gecko_jax.training.distillations.mixacm import mixacm

DISTILLATIONS = {
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "kullback_leibler": kullback_leibler,
    "hard_labels": hard_labels,
    "assistants": assistants,
    "continuation": continuation,
    "mixacm": mixacm,
}

__all__ = [
    "DISTILLATIONS",
    "Distillation",
    "Teacher",
    "assistants",
    "continuation",
    "hard_labels",
    "kullback_leibler",
    "mixacm",
    "symmetric_cross_entropy",
]
