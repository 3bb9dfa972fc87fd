"""Measures what each row leaks, is worth and costs: trained models in, a `reports.Study` out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.common import (
    ECE,
    EPSILON,
    TEST,
    TRAIN,
    accuracies,
    attack_figures,
    filled_columns,
    guarantees,
    members,
    paths_below,
)
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from experiments.gecko.published import published
from experiments.gecko.train import Trained
from gecko_jax import audit, costs, files, integer, reports
from gecko_jax.audit.report.exhibits import roc_curves, signal_histograms
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate

# The paper's own kind, named beforehand, because choosing the best attack on the target would flatter it. The others
# are in rows/*/*/audit.json, and in experiments/audit.
ATTACK = "modified_entropy"

COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("attack", "Attack accuracy", "%", 2, "low"),
    reports.Column("auc", "Attack AUC", "", 3, "low"),
    reports.Column("tpr_at_1pct", "TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1% FPR", "%", 2, "low"),
    ECE,
    EPSILON,
    reports.Column("bytes", "Deployed", "kB", 1, "low"),
    reports.Column("file", "Packed file", "kB", 1, "low"),
    reports.Column("parameters", "Parameters", "", 0),
    reports.Column("binary_parameters", "of them 1-bit", "", 0),
    reports.Column("macs", "Float MACs", "", 0, "low"),
    reports.Column("binary_macs", "Binary MACs", "", 0),
    reports.Column("peak", "Peak activations", "kB", 1, "low"),
    reports.Column("energy", "Energy", "µJ", 2, "low"),
)

LEAKS = {"attack_accuracy": "attack", "auc": "auc", "tpr_at_1pct": "tpr_at_1pct", "tpr_at_0p1pct": "tpr_at_0p1pct"}


def study(config: Config, data: Dataset, member: np.ndarray, trained: list[Trained]) -> reports.Study:
    """Audits and prices every row, writes their packed files and audits, and returns the table.

    Args:
      config: the settings.
      data: the data set; member: bool [m, n], who trained on what.
      trained: the rows.
    """
    rows, rocs, histograms, curves, notes, several = [], {}, {}, [], [], len(config.architectures) > 1
    written = []
    for row in trained:
        name = f"{row.architecture}: {METHODS[row.method].label}" if several else METHODS[row.method].label
        folder = Path(config.output) / "rows" / row.architecture / row.method
        folder.mkdir(parents=True, exist_ok=True)
        audited = audit.audit_models(row.pool, data.train.y, member)  # of outputs alone, which costs seconds
        written += [files.write_atomic(folder / "audit.json", audited.to_json()), folder / "model.packed"]
        figures = accuracies(row, data, member) | attack_figures(audited, ATTACK, LEAKS) | _costs(row, data, folder)
        note, group = METHODS[row.method].note, row.architecture if several else ""
        if row.epsilon is not None:
            figures["epsilon"] = row.epsilon.estimate()
            note = "; ".join((note, *map(str, row.epsilon.phases)))
        rows.append(reports.Row(name, figures, group, note, published(config.dataset, row.architecture, row.method)))
        rocs[name], histograms[name] = audited.curves[ATTACK], audited.confidence_histogram
        mean = row.history.mean(1)
        curves.append(reports.Curve(name, np.arange(1, len(mean) + 1).tolist(), mean.tolist()))
        notes += audited.warnings
    private = {f"{row.architecture}/{row.method}": row.epsilon for row in trained if row.epsilon is not None}
    notes += guarantees(config.clipping, list(private.values()))
    return reports.Study(
        title=f"Gecko on {config.dataset}",
        summary=_summary(config, member),
        rows=tuple(rows),
        columns=filled_columns(COLUMNS, rows, config.delta),
        exhibits=(
            reports.Tradeoff("test", "auc", "bytes"),
            roc_curves(rocs),
            signal_histograms(histograms),
            reports.TrainingCurves("Training curves", tuple(curves), note="Mean over the models."),
        ),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(notes))),
        record={
            "timings": {f"{row.architecture}/{row.method}": round(row.seconds, 2) for row in trained},
            "attack": ATTACK,
            "privacy": {name: str(epsilon) for name, epsilon in private.items()},
            "files": paths_below(config.output, written),
        },
    )


def _summary(config: Config, member: np.ndarray) -> str:
    return (
        "Accuracy, membership leakage and cost of the same network under different quantization and training. Each "
        f"row is {config.models} models, each trained on its own random members ({members(member)} examples); every "
        "model is attacked in turn, with thresholds chosen on the others. Figures are means with 95 % intervals over "
        f"the models; the attack is {ATTACK.replace('_', ' ')}, the other attacks are in rows/*/*/audit.json."
    )


def _costs(row: Trained, data: Dataset, folder: Path) -> dict[str, Estimate]:
    """Returns the cost of the first model, which all have; writes the packed file and compares its size.

    "bytes" are those a device holds, batch normalization folded, as peak activations and energy have it; "file" is the
    packed file, which holds the normalization as it was trained.
    """
    variables = take(row.variables, 0)
    x = np.asarray(data.test.x[:1])
    cost = costs.cost(row.model, variables, x)
    path = folder / "model.packed"
    integer.write(path, integer.pack(row.model, variables, x))
    if path.stat().st_size != cost.stored_bytes.value:
        raise AssertionError(f"{path} has {path.stat().st_size} bytes, counted were {cost.stored_bytes.value}.")
    counted = lambda value, unit="": Estimate(value, kind="counted", unit=unit)  # noqa: E731
    macs = {binary: 0 for binary in (False, True)}
    for precision, estimate in cost.macs.items():
        macs[precision == (1, 1)] += int(estimate.value)
    return {
        "bytes": counted(cost.deployed_bytes.value / 1000, "kB"),
        "file": counted(cost.stored_bytes.value / 1000, "kB"),
        "parameters": counted(int(sum(e.value for e in cost.parameters.values()))),
        "binary_parameters": counted(int(cost.parameters[1].value) if 1 in cost.parameters else 0),
        "macs": counted(macs[False]),
        "binary_macs": counted(macs[True]),
        "peak": counted(cost.peak_activation_bytes.value / 1000, "kB"),
        "energy": Estimate(cost.energy.value * 1e6, kind="modeled", unit="µJ"),
    }
