"""Trains each row and measures it: settings in, a `reports.Study` out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.template.config import Config
from gecko_jax import costs, datasets, metrics, models, quantizers, reports, training
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate, Model

COLUMNS = (
    reports.Column("test", "Test accuracy", "%", 2, "high"),
    reports.Column("bytes", "Deployed", "kB", 2, "low"),
)


def study(config: Config) -> reports.Study:
    """Returns the table of the config's quantizers."""
    data = datasets.load("digits")
    rows, curves = [], []
    for weights in config.weights:
        model = network(config, weights, data)
        fitted = train(config, model, data, Path(config.output) / "checkpoints" / weights)
        rows.append(reports.Row(weights, measure(model, fitted, data)))
        loss = fitted.loss.mean(1)
        curves.append(reports.Curve(weights, np.arange(1, len(loss) + 1).tolist(), loss.tolist()))
    return reports.Study(
        title="What quantized weights cost in accuracy on digits",
        summary=f"Each row is {config.models} models with seeds of their own, trained on the same examples. Figures "
        "are means with 95 % intervals over the models.",
        rows=tuple(rows),
        columns=COLUMNS,
        exhibits=(
            reports.Tradeoff("test", "bytes"),
            reports.TrainingCurves("Training curves", tuple(curves), note="Mean over the models."),
        ),
    )


def network(config: Config, weights: str, data: Dataset) -> Model:
    """Returns the network of a row."""
    model = models.create("mlp", data.num_classes, hidden=config.hidden, normalize=True)
    if weights == "identity":
        return model
    return models.quantized(model, [("", quantizers.QUANTIZERS[weights](), None)], float_layers=())


def train(config: Config, model: Model, data: Dataset, folder: Path) -> training.Fit:
    """Trains the models of a row; a run that was killed goes on from its folder."""
    everybody = np.ones((config.models, len(data.train.y)), bool)
    return training.fit_ensemble(
        model,
        data.train,
        everybody,
        epochs=config.epochs,
        batch_size=config.batch_size,
        optimizer=training.optimizer("adam", config.learning_rate),
        seed=config.seed,
        folder=folder,
    )


def measure(model: Model, fitted: training.Fit, data: Dataset) -> dict[str, Estimate]:
    """Returns a figure for each column."""
    logits = training.predict_ensemble(model, fitted.variables, data.test.x)
    accuracy = np.array([metrics.accuracy(each, data.test.y) for each in logits])
    cost = costs.cost(model, take(fitted.variables, 0), data.test.x[:1])
    return {
        "test": reports.percent(metrics.mean_interval(accuracy)),
        "bytes": Estimate(cost.deployed_bytes.value / 1000, kind="counted", unit="kB"),
    }
