"""Measures what a row leaks, is worth and costs: trained models in, a `reports.Study` of one row out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import softmax

from experiments.common import ECE, EPSILON, TEST, TRAIN, accuracies, attack_figures, guarantees, paths_below
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from experiments.gecko.train import Trained
from gecko_jax import audit, costs, files, integer, metrics, reports
from gecko_jax.audit.report.exhibits import roc_curves, signal_histograms
from gecko_jax.defenses import label_attacks, masking
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate

# Named beforehand, because choosing the best attack on the target would flatter it: the paper's own kind, the strongest
# of those that know each record from shadow models, and what the labels alone give away. All others are in
# rows/*/*/audit.json, and in experiments/audit.
ATTACK, LIRA, RMIA, HIERARCHICAL = "modified_entropy", "lira_student", "rmia", "hierarchical_lira"
LABELS, LIRA_LABELS = "gap", "lira_labels"

COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("attack", "Attack accuracy", "%", 2, "low"),
    reports.Column("auc", "Attack AUC", "", 3, "low"),
    reports.Column("tpr_at_1pct", "TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1% FPR", "%", 2, "low"),
    reports.Column("label_only_attack", "Label-only attack accuracy", "%", 2, "low"),
    reports.Column("label_only_auc", "Label-only LiRA AUC", "", 3, "low"),
    reports.Column("lira_auc", "LiRA AUC", "", 3, "low"),
    reports.Column("lira_tpr_at_1pct", "LiRA TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("rmia_auc", "RMIA AUC", "", 3, "low"),
    reports.Column("rmia_tpr_at_1pct", "RMIA TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("hierarchical_lira_auc", "Hierarchical LiRA AUC", "", 3, "low"),
    reports.Column("hierarchical_lira_tpr_at_1pct", "Hierarchical LiRA TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("loss_tail", "Loss tail, TNR @ 1% FNR", "%", 2, "low"),
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

LEAKS = {
    ATTACK: {"attack_accuracy": "attack", "auc": "auc", "tpr_at_1pct": "tpr_at_1pct", "tpr_at_0p1pct": "tpr_at_0p1pct"},
    LIRA: {"auc": "lira_auc", "tpr_at_1pct": "lira_tpr_at_1pct"},
    RMIA: {"auc": "rmia_auc", "tpr_at_1pct": "rmia_tpr_at_1pct"},
    HIERARCHICAL: {"auc": "hierarchical_lira_auc", "tpr_at_1pct": "hierarchical_lira_tpr_at_1pct"},
    LABELS: {"attack_accuracy": "label_only_attack"},
    LIRA_LABELS: {"auc": "label_only_auc"},
}
TAIL = "tnr_at_1pct_fnr"  # a risk estimate without shadow models
CURVES = {ATTACK: "threshold", LIRA: "LiRA"}


def measured(config: Config, data: Dataset, member: np.ndarray, row: Trained, folder: Path) -> reports.Study:
    """Audits and prices a row, writes its packed file and its audit, and returns a table of this row alone.

    Args:
      config: the settings.
      data: the data set; member: bool [m, n], who trained on what.
      row: the models.
      folder: for the files.
    """
    method = METHODS[row.method]
    folder.mkdir(parents=True, exist_ok=True)
    y = data.train.y
    audited = audit.audit_models(row.pool, y, member)  # of outputs alone, which costs seconds
    labels = audit.audit_models(row.pool, y, member, [a for a in label_attacks(len(member)) if a != "label_only"])
    cost = _cost(row, data, folder)
    written = [files.write_atomic(folder / "audit.json", audited.to_json()), folder / "model.packed"]
    figures = accuracies(row, data, member) | _costs(cost)
    for attack, columns in LEAKS.items():
        for report in (audited, labels):
            if attack in report.rows:  # some need more shadow models than a small run has
                figures |= attack_figures(report, attack, columns)
    if tail := audited.loss_tail.get(TAIL):
        figures["loss_tail"] = reports.percent(tail)
    note, notes = config.note(row.architecture, row.method), [*masking(audited, labels), *audited.warnings]
    if row.epsilon is not None:
        figures["epsilon"] = row.epsilon.estimate()
        note = "; ".join((note, *map(str, row.epsilon.phases)))
        notes += guarantees(config.clipping, [row.epsilon])
    return reports.Study(
        title=f"{method.label} of {row.architecture} on {config.dataset}",
        summary="",
        rows=(reports.Row(method.label, figures, "", note),),
        columns=tuple(column for column in COLUMNS if column.key in figures),
        exhibits=_exhibits(method.label, row, data, audited, cost),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(notes))),
        record={
            "timings": {"training": round(row.seconds, 2)},
            "privacy": "" if row.epsilon is None else str(row.epsilon),
            "files": paths_below(folder, written),
        },
    )


def _exhibits(name: str, row: Trained, data: Dataset, audited: audit.Report, cost: costs.Cost) -> tuple:
    """Returns what the page shows of a row; the parts are named as the row, or begin with its name and a comma."""
    mean = row.history.mean(1)
    rocs = {f"{name}, {label}": audited.curves[a] for a, label in CURVES.items() if a in audited.curves}
    loss = reports.Curve(name, np.arange(1, len(mean) + 1).tolist(), mean.tolist())
    bins = metrics.reliability_bins(softmax(row.test[0].astype(np.float64), -1), np.asarray(data.test.y))
    return (
        roc_curves(rocs),
        signal_histograms({name: audited.confidence_histogram}),
        reports.ReliabilityDiagrams("Reliability", (reports.Reliability.of(name, bins),), "Of the first model."),
        reports.CostBreakdowns("Costs by part", costs.breakdowns(name, cost)),
        reports.TrainingCurves("Training curves", (loss,), note="Mean over the models."),
    )


def _cost(row: Trained, data: Dataset, folder: Path) -> costs.Cost:
    """Returns the cost of the first model, which all have; writes the packed file and compares its size."""
    variables = take(row.variables, 0)
    x = np.asarray(data.test.x[:1])
    cost = costs.cost(row.model, variables, x)
    path = folder / "model.packed"
    integer.write(path, integer.pack(row.model, variables, x))
    if path.stat().st_size != cost.stored_bytes.value:
        raise AssertionError(f"{path} has {path.stat().st_size} bytes, counted were {cost.stored_bytes.value}.")
    return cost


def _costs(cost: costs.Cost) -> dict[str, Estimate]:
    """Returns the figures of a cost.

    "bytes" are those a device holds, batch normalization folded, as peak activations and energy have it; "file" is the
    packed file, which holds the normalization as it was trained.
    """
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
