"""Measures what each row is worth: trained models in, a `reports.Study` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.he_friendly import published
from experiments.he_friendly.config import Config
from experiments.he_friendly.imitation import seen
from experiments.he_friendly.methods import METHODS, TEACHER
from experiments.he_friendly.train import Trained
from gecko_jax import metrics, reports, training
from gecko_jax.types import Array, Dataset, Estimate, Model

COLUMNS = (
    reports.Column("f1", "Macro-F1", "%", 2, "high"),
    reports.Column("accuracy", "Accuracy", "%", 2, "high"),
    reports.Column("gap", "Gap to the teacher", "%", 2, "low"),
    reports.Column("range", "log₁₀ largest |z|", "", 2, "low"),
    reports.Column("shifted_f1", "Macro-F1, shifted", "%", 2, "high"),
    reports.Column("shifted_range", "log₁₀ largest |z|, shifted", "", 2, "low"),
)


class Group(NamedTuple):
    """Rows that are measured from one teacher: a name, "" if it is the only one, and {method: its models}."""

    name: str
    rows: Mapping[str, Trained]


def study(config: Config, title: str, summary: str, groups: Sequence[Group], data: Dataset) -> reports.Study:
    """Returns the table of macro-F1, gaps and ranges.

    Args:
      config: the settings.
      title, summary: of the report.
      groups: of rows.
      data: the data set; all figures are of its test set.
    """
    rows, curves = [], []
    for group in groups:
        teacher = metrics.macro_f1(_answers(group.rows[TEACHER], data.test.x, data.test.y), data.test.y)
        for name, trained in group.rows.items():
            label = f"{group.name}: {METHODS[name].label}" if group.name else METHODS[name].label
            note = "; ".join(filter(None, (METHODS[name].note, trained.failure)))
            figures = {} if trained.variables is None else _figures(config, trained, data, teacher)
            if name == TEACHER:
                del figures["gap"]
            rows.append(reports.Row(label, figures, group.name, note))
            mean = trained.history.mean(1)
            if len(mean):
                curves.append(reports.Curve(label, np.arange(1, len(mean) + 1).tolist(), mean.tolist()))
    return reports.Study(
        title=title,
        summary=summary,
        rows=tuple(rows),
        columns=COLUMNS,
        exhibits=(
            reports.TextTable("Published gaps", published.HEADINGS, published.LINES, "Of F1 score and accuracy."),
            reports.TrainingCurves("Training curves", tuple(curves), note="Mean over the models; losses differ."),
        ),
        notes=reports.Notes(footnotes=_footnotes(config)),
    )


def _footnotes(config: Config) -> tuple[str, ...]:
    return (
        "Gap: the teacher's macro-F1 minus the row's, model by model (the same seed); below 0 the row is better. "
        f"Published gaps, of AlexNet on chest X-ray and CT images: {published.GAP_LOW:g} to {published.GAP_HIGH:g} %.",
        "Largest |z|: the largest input of an activation on the test images, over all layers, as a power of ten (0.7 "
        f"is 5, 8 is a hundred million); shifted: the same on the test images times {config.shift:g}, which nobody "
        "trained on. A row without one of them overflows float32 there.",
        "A row without figures failed: its note says where. An answer that is not finite counts as wrong.",
    )


def _figures(config: Config, trained: Trained, data: Dataset, teacher: np.ndarray) -> dict[str, Estimate]:
    shifted = np.asarray(data.test.x) * np.float32(config.shift)
    logits = _answers(trained, data.test.x, data.test.y)
    f1 = metrics.macro_f1(logits, data.test.y)
    figures = {
        "f1": metrics.mean_interval(f1),
        "accuracy": metrics.mean_interval(np.array([metrics.accuracy(each, data.test.y) for each in logits])),
        "gap": metrics.paired_difference(teacher, f1),
        "shifted_f1": metrics.mean_interval(metrics.macro_f1(_answers(trained, shifted, data.test.y), data.test.y)),
    }
    figures = {name: reports.percent(figure) for name, figure in figures.items()}
    for name, x in (("range", data.test.x), ("shifted_range", shifted)):
        largest = training.predict_ensemble(activation_ranges(trained.model), trained.variables, x).max((1, 2))
        if np.isfinite(largest).all():
            figures[name] = metrics.mean_interval(np.log10(largest))
    return figures


def _answers(trained: Trained, x: Array, y: Array) -> np.ndarray:
    """Returns the logits [m, n, classes] of a row's models; an answer that is not finite becomes a wrong one."""
    logits = training.predict_ensemble(trained.model, trained.variables, x)
    wrong = np.eye(logits.shape[-1], dtype=logits.dtype)[(np.asarray(y) + 1) % logits.shape[-1]]
    return np.where(np.isfinite(logits).all(-1, keepdims=True), logits, wrong)


def activation_ranges(model: Model) -> Model:
    """Returns the model whose output is the largest |input| of each activation, [b, activations]."""

    def apply(variables, x, **options):
        largest: list[Array] = []

        def look(i, before, after):
            largest.append(jnp.abs(before).max(axis=tuple(range(1, before.ndim))))
            return after

        with seen(look):
            updates = model.apply(variables, x, **options)[1]
        return jnp.stack(largest, axis=1), updates

    return model._replace(apply=apply)
