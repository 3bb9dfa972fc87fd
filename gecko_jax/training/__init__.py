"""Training: gradients -> step -> epoch -> ensemble; distillation; checkpoints; evaluation.

  plain       fit(model, data)
  shadows     fit_ensemble(model, data, member)                 member bool [m, n]
  distilled   distill(student, data, member, teacher=logits); DISTILLATIONS["continuation"]().train(student, ...)
  private     fit(model, data, gradients=a private GradFn)
  fine-tuned  fit(model, data, init=pretrained, trainable=["logits"])     the rest stays as it is, to the bit
  coupled     fit(model, data, gradients=objective_gradients(objective of a whole batch, loss))
  masked      fit(model, rows, gradients=batch_gradients(model, loss, augment=fresh_masks(mask=1)))
  selective   fit_twice(model, rows, private)       redacted rows first, then privately the rows as they are
  repeated    Recipe(model, pool, **options)(rows, key): how a target is made, so that its shadows are made alike
  scheduled   fit(model, data, schedules={"learning_rate": cosine, "transition": linear(0.2, 0.6)})
  averaged    fit(with_average(model, 0.999), data), then averaged(its variables) for the model itself
  evaluated   evaluate(model, variables, data, loss): each example's loss, and the metric

Inputs, labels and outputs are pytrees with one leading axis: classes, numbers, several labels or sequences [n, t]. The
loss says what it reads (`gecko_jax.losses`).
"""

from gecko_jax.training.averaging import averaged, with_average
from gecko_jax.training.diagnosis import NotFinite
from gecko_jax.training.distillation import cross_fitted_logits, distill
from gecko_jax.training.distillations import DISTILLATIONS, Distillation, Teacher
from gecko_jax.training.ensemble import Fit, fit, fit_ensemble
from gecko_jax.training.evaluation import Evaluation, evaluate, evaluate_ensemble
from gecko_jax.training.gradients import GradFn, batch_gradients
from gecko_jax.training.layer_schedules import LayerSchedule, last_layer_first
from gecko_jax.training.masking import fresh_masks
from gecko_jax.training.objectives import mean_loss, mean_over, objective_gradients
from gecko_jax.training.optimizers import OPTIMIZERS, masked_momentum, optimizer
from gecko_jax.training.predict import predict, predict_ensemble
from gecko_jax.training.recipe import Recipe
from gecko_jax.training.schedules import SCHEDULES, constant, cosine, linear
from gecko_jax.training.selective_epsilon import SelectiveEpsilon
from gecko_jax.training.split_ai import split_ai_logits
from gecko_jax.training.twice import FitTwice, fit_twice
from gecko_jax.training.unpairing import unpair

__all__ = [
    "DISTILLATIONS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Distillation",
    "Evaluation",
    "Fit",
    "FitTwice",
    "GradFn",
    "LayerSchedule",
    "NotFinite",
    "Recipe",
    "SelectiveEpsilon",
    "Teacher",
    "averaged",
    "batch_gradients",
    "constant",
    "cosine",
    "cross_fitted_logits",
    "distill",
    "evaluate",
    "evaluate_ensemble",
    "fit",
    "fit_ensemble",
    "fit_twice",
    "fresh_masks",
    "last_layer_first",
    "linear",
    "masked_momentum",
    "mean_loss",
    "mean_over",
    "objective_gradients",
    "optimizer",
    "predict",
    "predict_ensemble",
    "split_ai_logits",
    "unpair",
    "with_average",
]
