"""A study as large and as mixed as a real one, from invented figures; the tests of this room share it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from gecko_jax.metrics import reliability_bins
from gecko_jax.reports import (
    Breakdown,
    Column,
    CostBreakdowns,
    Curve,
    DotPlot,
    Histogram,
    Histograms,
    ImageGrid,
    Notes,
    Reliability,
    ReliabilityDiagrams,
    RocCurves,
    Row,
    Study,
    TextTable,
    Tradeoff,
    TrainingCurves,
)
from gecko_jax.types import Estimate

COLUMNS = (
    Column("train", "Train accuracy", "%", 2),
    Column("test", "Test accuracy", "%", 2, "high"),
    Column("attack", "Attack accuracy", "%", 2, "low"),
    Column("auc", "Attack AUC", "", 3, "low"),
    Column("tpr1", "TPR at 1 % FPR", "%", 2, "low"),
    Column("tpr01", "TPR at 0.1 % FPR", "%", 2, "low"),
    Column("ece", "ECE", "%", 2, "low"),
    Column("bytes", "Stored bytes", "B", 0, "low"),
    Column("macs", "MACs", "", 0, "low"),
    Column("binary_macs", "Binary MACs", "", 0),
    Column("peak", "Peak activation", "B", 0, "low"),
    Column("energy", "Energy", "µJ", 1, "low"),
)
# name, group, train, test, attack, auc, bytes, published attack
NAMES = (
    ("Full precision", "Baselines", 100.0, 92.35, 57.46, 0.621, 4799528, 57.46),
    ("BinaryConnect", "Baselines", 97.61, 89.60, 54.30, 0.561, 203052, 54.30),
    ("XNOR Phase I", "Gecko", 87.19, 85.68, 51.05, 0.514, 203052, 51.05),
    ("Phase I control", "Gecko", 88.90, 85.40, 51.45, 0.519, 203052, None),
    ("Phase II homogeneous", "Gecko", 91.20, 87.35, 51.90, 0.526, 203052, 51.85),
    ("Phase II heterogeneous", "Gecko", 91.85, 87.95, 52.30, 0.531, 203052, None),
    ("Quadratic activations", "Others", 96.40, 89.20, 55.10, 0.572, 4799528, None),
    ("DP, ε = 8", "Others", 84.10, 83.90, 50.40, 0.503, 4799528, None),
)


def example() -> Study:
    random = np.random.default_rng(7)
    rows, rocs, histograms, losses, reliabilities, costs = [], [], [], [], [], []
    for name, group, train, test, attack, auc, size, published in NAMES:

        def seeds(value, spread, unit="%"):
            return Estimate(value, value - spread, value + spread, "measured", unit, 5)

        def count(value, unit="", kind="counted"):
            return Estimate(value, kind=kind, unit=unit)

        binary = size < 1e6
        figures = {
            "train": seeds(train, 0.21),
            "test": seeds(test, 0.34),
            "attack": seeds(attack, 0.42),
            "auc": seeds(auc, 0.006, ""),
            "tpr1": seeds(1 + 40 * (auc - 0.5), 0.31),
            "tpr01": seeds(0.1 + 11 * (auc - 0.5), 0.12),
            "ece": seeds(1 + (train - test) / 2, 0.4),
            "bytes": count(size, "B"),
            "macs": count(225_792 if binary else 12_012_544),
            "binary_macs": count(11_786_752 if binary else 0),
            "peak": count(13_824 if binary else 86_528, "B"),
            "energy": count(4.31 if binary else 55.26, "µJ", "modeled"),
        }
        if name.startswith("DP"):
            del figures["energy"]
        parts = ("codes", "raw") if binary else ("raw",)
        sizes = (size - 3052, 3052) if binary else (size,)
        costs.append(Breakdown(name, "Deployed bytes", "B", "counted", parts, sizes))
        if "energy" in figures:
            costs.append(Breakdown(name, "Energy", "J", "modeled", ("conv1", "dense"), (2e-6, 1e-6)))
        note = "accounted at δ = 1e-5" if name.startswith("DP") else ""
        command = f"python -m experiments.invented --row={len(rows)}"
        rows.append(Row(name, figures, group, note, published and {"attack": published}, (), command))
        fpr = np.geomspace(1e-3, 1, 60)
        power = math.log(0.01 + 0.4 * (auc - 0.5)) / math.log(0.01)
        tpr = fpr**power
        rocs.append(Curve(name, fpr, tpr, tpr * 0.85, np.minimum(tpr * 1.15, 1)))
        edges = np.linspace(0, 1, 21)
        members = np.histogram(random.beta(9 - 8 * (100 - train) / 16, 1, 4000), edges)[0]
        others = np.histogram(random.beta(9 - 8 * (100 - test) / 20, 1, 3000), edges)[0]
        histograms.append(Histogram(name, edges, (members, others)))
        sure = random.uniform(0.3, 1, 2000)
        right = random.random(2000) < sure - (train - test) / 100
        probs = np.column_stack([sure, (1 - sure) * 0.6, (1 - sure) * 0.4])
        reliabilities.append(Reliability.of(name, reliability_bins(probs, np.where(right, probs.argmax(1), 2))))
        epochs = np.arange(1, 31)
        loss = (100 - train) / 40 + 1.2 * np.exp(-epochs / 4)
        losses.append(Curve(f"{name}, train", epochs, loss, loss * 0.97, loss * 1.03))
        losses.append(Curve(f"{name}, test", epochs, loss + 0.01 * (train - test) * np.sqrt(epochs)))
    return Study(
        title="Privacy, accuracy & cost of an embedded network",
        summary="Which of eight ways to train and store one network leaks least about its training data at a given "
        "accuracy and size? Members are scored without augmentation; thresholds come from shadow models.",
        rows=tuple(rows),
        columns=COLUMNS,
        exhibits=(
            Tradeoff("test", "attack", "bytes"),
            RocCurves("ROC curves", tuple(rocs)),
            dots("", 23),
            dots("of records with a long name, ", 9),
            Histograms("Signals", ("members", "non-members"), tuple(histograms), "signal"),
            ImageGrid.of("Records & images", images(), [f"class {i}\nscore -0.000{i}" for i in range(7)]),
            TextTable("Records, listed", ("class", "score"), (("0", "12.5"), ("1", "3")), "Two of them."),
            ReliabilityDiagrams("Reliability", tuple(reliabilities)),
            TrainingCurves("Training", tuple(losses)),
            CostBreakdowns("Costs", tuple(costs)),
        ),
        record={
            "config": {"dataset": "fashion_mnist", "epochs": 30, "shadows": 16, "rules": ("Dense", "Conv")},
            "seeds": [0, 1, 2, 3, 4],
            "timings": {"train_s": 812.4, "attack_s": 33.1},
        },
        notes=Notes(warnings=("These figures are invented, to try the page.", "The DP row has no energy.")),
    )


def of_kind(study, noun):
    """The exhibits of a kind."""
    return [exhibit for exhibit in study.exhibits if isinstance(exhibit, noun)]


def without(study, nouns):
    """The study without its exhibits of some kinds."""
    return dataclasses.replace(study, exhibits=tuple(e for e in study.exhibits if not isinstance(e, nouns)))


def dots(prefix, count):
    figures = [Estimate(0.7 - 0.01 * i, 0.6 - 0.01 * i, 0.75, n=100) for i in range(count)]
    labels = [f"{prefix}class {i}" for i in range(count)]
    return DotPlot(f"AUC by class {prefix}".strip(), labels, figures, "", 3, 0.5, "Worst first.")


def images():
    return np.random.default_rng(8).random((7, 28, 28, 1)).astype(np.float32)
