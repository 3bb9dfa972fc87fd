"""Measures what a row leaks, is worth and costs: trained models in, a `reports.Study` of one row out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.common import ECE, EPSILON, TEST, TRAIN, accuracies, attack_figures, guarantees, paths_below
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from experiments.gecko.train import Trained
from gecko_jax import audit, costs, files, integer, reports
from gecko_jax.audit.report.exhibits import roc_curves, signal_histograms
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate

# Named beforehand, because choosing the best attack on the target would flatter it: the paper's own kind, the strongest
# of those that know each record from shadow models, and what the labels alone give away. All others are in
# rows/*/*/audit.json, and in experiments/audit.
ATTACK, LIRA, RMIA, LABELS = "modified_entropy", "lira_student", "rmia", "gap"

COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("attack", "Attack accuracy", "%", 2, "low"),
    reports.Column("auc", "Attack AUC", "", 3, "low"),
    reports.Column("tpr_at_1pct", "TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1% FPR", "%", 2, "low"),
    reports.Column("label_only_attack", "Label-only attack accuracy", "%", 2, "low"),
    reports.Column("lira_auc", "LiRA AUC", "", 3, "low"),
    reports.Column("lira_tpr_at_1pct", "LiRA TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("rmia_auc", "RMIA AUC", "", 3, "low"),
    reports.Column("rmia_tpr_at_1pct", "RMIA TPR @ 1% FPR", "%", 2, "low"),
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

ROC_NAMES = {ATTACK: "ROC curves of the attacks", LIRA: "ROC curves of LiRA"}
LEAKS = {
    ATTACK: {"attack_accuracy": "attack", "auc": "auc", "tpr_at_1pct": "tpr_at_1pct", "tpr_at_0p1pct": "tpr_at_0p1pct"},
    LABELS: {"attack_accuracy": "label_only_attack"},
    LIRA: {"auc": "lira_auc", "tpr_at_1pct": "lira_tpr_at_1pct"},
    RMIA: {"auc": "rmia_auc", "tpr_at_1pct": "rmia_tpr_at_1pct"},
}


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
    audited = audit.audit_models(row.pool, data.train.y, member)  # of outputs alone, which costs seconds
    written = [files.write_atomic(folder / "audit.json", audited.to_json()), folder / "model.packed"]
    figures = accuracies(row, data, member) | _costs(row, data, folder)
    for attack, columns in LEAKS.items():
        if attack in audited.rows:  # some need more shadow models than a small run has
            figures |= attack_figures(audited, attack, columns)
    note, notes = method.note, list(audited.warnings)
    if row.epsilon is not None:
        figures["epsilon"] = row.epsilon.estimate()
        note = "; ".join((note, *map(str, row.epsilon.phases)))
        notes += guarantees(config.clipping, [row.epsilon])
    mean = row.history.mean(1)
    curve = reports.Curve(method.label, np.arange(1, len(mean) + 1).tolist(), mean.tolist())
    rocs = {attack: audited.curves[attack] for attack in (ATTACK, LIRA) if attack in audited.curves}
    return reports.Study(
        title=f"{method.label} of {row.architecture} on {config.dataset}",
        summary="",
        rows=(reports.Row(method.label, figures, "", note),),
        columns=tuple(column for column in COLUMNS if column.key in figures),
        exhibits=(
            *(roc_curves({method.label: roc})._replace(name=ROC_NAMES[attack]) for attack, roc in rocs.items()),
            signal_histograms({method.label: audited.confidence_histogram}),
            reports.TrainingCurves("Training curves", (curve,), note="Mean over the models."),
        ),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(notes))),
        record={
            "timings": {"training": round(row.seconds, 2)},
            "privacy": "" if row.epsilon is None else str(row.epsilon),
            "files": paths_below(folder, written),
        },
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
