"""Measures what each row is worth and how well calibrated it is: trained models in, `reports.Study`s out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from experiments.dp_clipping.config import Config
from experiments.dp_clipping.data import Task
from experiments.dp_clipping.rules import RULES
from experiments.dp_clipping.train import Trained
from gecko_jax import clippings, metrics, privacy, reports
from gecko_jax.metrics.temperature import PrivateTemperature
from gecko_jax.trees import take
from gecko_jax.types import AdaptiveClipping, Batch, Estimate

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "momentum": "momentum SGD"}
TEMPERATURE_STEPS, TEMPERATURE_RATE, TEMPERATURE_CLIP = 50, 1.0, 1.0

SHARED = (
    reports.Column("loss", "Final train loss", "", 3, "low"),
    reports.Column("unequal", "Unequal factors", "%", 1),
    reports.Column("epsilon", "ε", "", 2, "low"),
    reports.Column("noise", "Noise multiplier", "", 2),
    reports.Column("rate", "Learning rate", "", 3),
)
CLASSIFICATION = (
    reports.Column("test", "Test accuracy", "%", 2, "high"),
    reports.Column("ece", "ECE", "%", 2, "low"),
    reports.Column("mce", "MCE", "%", 1, "low"),
    reports.Column("nll", "NLL", "", 3, "low"),
    reports.Column("brier", "Brier", "", 3, "low"),
    reports.Column("ece_scaled", "ECE, temperature", "%", 2, "low"),
    reports.Column("temperature", "Temperature", "", 2),
    *SHARED,
)
REGRESSION = (
    reports.Column("r2", "Test R²", "", 3, "high"),
    reports.Column("rmse", "Test RMSE", "", 3, "low"),
    *SHARED,
)


def name_of(row: Trained) -> str:
    """Returns a row's name, unique among the rows of a study."""
    prefix = "" if row.epsilon is None else "DP-"
    return f"{RULES[row.rule].label}, {prefix}{OPTIMIZERS[row.optimizer]}"


def row_of(config: Config, task: Task, row: Trained, group: str = "") -> reports.Row:
    """Returns a line of the table."""
    regression = np.issubdtype(task.test.y.dtype, np.floating)
    figures = fitness(task, row) if regression else calibration(config, task, row)
    edge = "; its rate is at the edge of those tried" if row.edge else ""
    figures |= {
        "loss": metrics.mean_interval(row.history[-1]),
        "unequal": Estimate(100 * unequal(config, task, row), unit="%"),
        "epsilon": Estimate(float("inf"), kind="modeled") if row.epsilon is None else row.epsilon.estimate(),
        "noise": Estimate(row.noise_multiplier, kind="counted"),
        "rate": Estimate(row.rate, kind="counted"),
    }
    return reports.Row(name_of(row), figures, group or OPTIMIZERS[row.optimizer], RULES[row.rule].note + edge)


def calibration(config: Config, task: Task, row: Trained) -> dict[str, Estimate]:
    """Returns accuracy and calibration on the test set, each a mean with its interval over the models."""
    labels, held_out = task.test.y, task.train.y[~task.member]
    temperatures = [
        _temperature(config, task, row, logits, held_out, number) for number, logits in enumerate(row.held_out)
    ]
    probs = [softmax(logits.astype(np.float64), -1) for logits in row.test]
    scaled = [softmax(logits.astype(np.float64) / t, -1) for logits, t in zip(row.test, temperatures, strict=True)]

    def mean(function: Callable[..., float], over: list[np.ndarray], percent: bool = False) -> Estimate:
        figure = metrics.mean_interval(np.array([function(each, labels) for each in over]))
        return reports.percent(figure) if percent else figure

    return {
        "test": mean(metrics.accuracy, probs, True),
        "ece": mean(metrics.expected_calibration_error, probs, True),
        "mce": mean(metrics.maximum_calibration_error, probs, True),
        "nll": mean(metrics.negative_log_likelihood, probs),
        "brier": mean(metrics.brier_score, probs),
        "ece_scaled": mean(metrics.expected_calibration_error, scaled, True),
        "temperature": metrics.mean_interval(np.array(temperatures)),
    }


def _temperature(config: Config, task: Task, row: Trained, logits, labels, number: int) -> float:
    """Returns a temperature fitted on the held-out records, privately if the row is private."""
    if row.epsilon is None:
        return metrics.fit_temperature(logits, labels)
    noise = temperature_noise(config.temperature_epsilon, task.delta)
    steps, rate = TEMPERATURE_STEPS, TEMPERATURE_RATE
    return metrics.fit_temperature_privately(
        logits, labels, TEMPERATURE_CLIP, noise, steps, rate, config.seed + number
    ).temperature


def temperature_noise(epsilon: float, delta: float) -> float:
    """The noise multiplier of a private temperature within a budget."""
    spent = lambda noise: PrivateTemperature(1.0, noise, TEMPERATURE_STEPS).epsilon(delta) - epsilon  # noqa: E731
    return float(brentq(spent, 1e-2, 1e6, rtol=1e-9))


def fitness(task: Task, row: Trained) -> dict[str, Estimate]:
    """R² and root mean squared error on the test set, the latter in the target's unit of 80."""
    y = task.test.y.astype(np.float64)
    squared = ((row.test[..., 0] - y[None]) ** 2).mean(-1)
    return {
        "r2": metrics.mean_interval(1 - squared / y.var()),
        "rmse": metrics.mean_interval(np.sqrt(squared)),
    }


def unequal(config: Config, task: Task, row: Trained, records: int = 1000) -> float:
    """Share of members whose factor, at the end of training, is not the one that a short gradient gets.

    Where it is 0 the sum points where the unclipped gradient does, and the theorem on convergence applies. Measured on
    the first model and on up to `records` members, without noise: a look inside, which no epsilon covers.
    """
    params = take(row.variables, 0)
    rule = RULES[row.rule].make(config.clip_norm, max(config.threshold, config.clip_norm), params["params"])
    if rule is None:
        return 0.0
    if isinstance(rule, AdaptiveClipping):
        rule = rule.at(row.threshold)
    rows = np.flatnonzero(task.member)[:records]
    batch = Batch(task.train.x[rows], task.train.y[rows], np.ones(len(rows), np.float32), None)
    loss = privacy.example_loss(task.model, task.loss)
    measured = clippings.per_layer(dict.fromkeys(rule.groups, 1.0)) if rule.groups else clippings.flat(1.0)
    norms = jax.jit(privacy.clipped_sum(loss, measured))(params, batch, jax.random.key(0))[1]
    norms = np.asarray(norms).reshape(len(rows), -1)
    factors, short = np.asarray(rule.scale(norms)), np.asarray(rule.scale(np.full_like(norms, 1e-9)))
    return float((np.abs(factors - short) > 1e-6 * short).any(axis=1).mean())


def study(config: Config, task: Task, rows: list[Trained], notes: tuple[str, ...]) -> reports.Study:
    """Returns the table of rules x optimizers on one task."""
    regression = np.issubdtype(task.test.y.dtype, np.floating)
    columns = REGRESSION if regression else CLASSIFICATION
    curves = []
    for row in rows:
        mean = row.history.mean(1)
        curves.append(reports.Curve(name_of(row), np.arange(1, len(mean) + 1).tolist(), mean.tolist()))
    exhibits = [reports.TrainingCurves("Training curves", tuple(curves), note="Mean over the models.")]
    if not regression:
        bins = {name_of(row): metrics.reliability_bins(softmax(row.test[0], -1), task.test.y) for row in rows}
        diagrams = tuple(reports.Reliability.of(name, each) for name, each in bins.items())
        exhibits.append(reports.ReliabilityDiagrams("Reliability diagrams", diagrams, "Of the first model."))
    return reports.Study(
        title=f"Private training on {task.name}: which clipping converges, and is calibrated?",
        summary=f"Each row is {config.models} models with seeds of their own, trained on the same {task.member.sum()} "
        f"records for {task.epochs} epochs at the rate that does best on {(~task.member).sum()} held-out records. "
        f"R = {config.clip_norm:g}, Z high = {config.threshold:g}. Means and 95 % intervals over the models.",
        rows=tuple(row_of(config, task, row) for row in rows),
        columns=columns,
        exhibits=(reports.Tradeoff("r2", "loss") if regression else reports.Tradeoff("test", "ece"), *exhibits),
        notes=reports.Notes(warnings=notes),
        record=_record(config, rows),
    )


def grid(config: Config, task: Task, cells: list[tuple[float, Trained]]) -> reports.Study:
    """Returns the table of clip norms x learning rates with SGD, from (R, row) of each."""
    columns = tuple(column for column in CLASSIFICATION if column.key not in ("ece_scaled", "temperature", "unequal"))
    rows = []
    for clip_norm, row in cells:
        figures = row_of(config, task, row).figures
        figures = {column.key: figures[column.key] for column in columns}
        name = f"R = {clip_norm:g}, rate · R = {row.rate * clip_norm:g}"
        rows.append(reports.Row(f"{RULES[row.rule].label}: {name}", figures, RULES[row.rule].label))
    return reports.Study(
        title=f"Clip norm and learning rate on {task.name}",
        summary="DP-SGD. Where rate · R is equal, noise moves the model as far, and so does a gradient that is wholly "
        "clipped.",
        rows=tuple(rows),
        columns=columns,
        exhibits=(reports.Tradeoff("test", "ece"),),
        record=_record(config, [row for _, row in cells]),
    )


def _record(config: Config, rows: list[Trained]) -> dict[str, Any]:
    """Returns every epsilon with its assumptions, and how temperatures were fitted."""
    return {
        "epsilon": {name_of(row): str(row.epsilon) for row in rows if row.epsilon is not None},
        "temperature": f"{TEMPERATURE_STEPS} steps, epsilon {config.temperature_epsilon:g} each, held-out records",
    }
