"""Measures what each row leaks, to thresholds and to the strongest attacks: models in, a `reports.Study` out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.audit.config import Config
from experiments.common import (
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
from experiments.gecko.methods import METHODS
from experiments.gecko.train import Trained
from gecko_jax import audit, files, reports
from gecko_jax.audit.report.exhibits import roc_curves
from gecko_jax.types import Dataset, Estimate

# Named beforehand, one of each kind, because choosing the best attack on the targets would flatter it. All others that
# can run are in rows/*/audit.json.
THRESHOLD, LABELS, LIRA, RMIA = "modified_entropy", "label_only", "lira_student", "rmia"
# What a row's leak is compared with, on the same members: the network in float, unless another one is named here.
USUAL_CONTROL = "normalized"
CONTROLS = {
    "full": None,
    "normalized": None,
    "phase2_homogeneous": "phase1_control",
    "dp_eps8": "full",
    "dp_eps2": "full",
}

COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("auc_threshold", "Threshold AUC", "", 3, "low"),
    reports.Column("auc_labels", "Label-only AUC", "", 3, "low"),
    reports.Column("auc_lira", "LiRA AUC", "", 3, "low"),
    reports.Column("auc_rmia", "RMIA AUC", "", 3, "low"),
    reports.Column("tpr_threshold", "Threshold TPR @ 1 % FPR", "%", 2, "low"),
    reports.Column("tpr_lira", "LiRA TPR @ 1 % FPR", "%", 2, "low"),
    reports.Column("tpr_rmia", "RMIA TPR @ 1 % FPR", "%", 2, "low"),
    reports.Column("tenth_lira", "LiRA TPR @ 0.1 % FPR", "%", 2, "low"),
    reports.Column("less_threshold", "Threshold AUC − control's", "", 3, "low"),
    reports.Column("less_lira", "LiRA AUC − control's", "", 3, "low"),
    reports.Column("less_rmia", "RMIA AUC − control's", "", 3, "low"),
    reports.Column("less_tpr", "LiRA TPR @ 1 % − control's", "%", 2, "low"),
    EPSILON,
)


def study(config: Config, data: Dataset, member: np.ndarray, trained: list[Trained]) -> reports.Study:
    """Audits every row, writes each audit and its page, and returns the table.

    Args:
      config: the settings.
      data: the data set, its training file cut to the records; member: bool [m, n], who was trained on what.
      trained: the rows.
    """
    rows, rocs, notes, audits, written = [], {}, [], {}, []
    home = Path(config.output) / "rows"
    for row in trained:
        method = METHODS[row.method]
        audited = audit.audit_ensemble(row.model, row.variables, data.train, member, claimed_epsilon=row.epsilon)
        audits[row.method] = audited
        written += _write(home / row.method, audited, method.label)
        figures = accuracies(row, data, member) | _leaks(audited)
        figures.pop("ece")
        note, control = method.note, CONTROLS.get(row.method, USUAL_CONTROL)
        if control in audits:
            figures |= _differences(audited, audits[control])
            if control != USUAL_CONTROL:
                note = "; ".join(filter(None, (note, f"control: {METHODS[control].label}")))
        if row.epsilon is not None:
            figures["epsilon"] = row.epsilon.estimate()
            notes.append(f"{method.label}: {' '.join(audited.claim.lines())}")
        rows.append(reports.Row(method.label, figures, "", note))
        rocs[method.label] = audited.curves[LIRA]
        notes += audited.warnings
    notes += guarantees(config.clipping, [row.epsilon for row in trained if row.epsilon is not None])
    return reports.Study(
        title=f"LiRA and RMIA on {config.dataset}",
        summary=_summary(config, member),
        rows=tuple(rows),
        columns=filled_columns(COLUMNS, rows, config.delta),
        exhibits=(reports.Tradeoff("test", "auc_lira"), roc_curves(rocs)),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(notes))),
        record={
            "timings": {row.method: round(row.seconds, 2) for row in trained},
            "attacks": {"threshold": THRESHOLD, "labels": LABELS, "lira": LIRA, "rmia": RMIA},
            "files": paths_below(home, written),
        },
    )


def _write(folder: Path, audited: audit.Report, label: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    page = audited.html(folder / "audit.html", title=label)
    return [page, files.write_atomic(folder / "audit.json", audited.to_json())]


def _leaks(audited: audit.Report) -> dict[str, Estimate]:
    leaks = {}
    for key, name in (("threshold", THRESHOLD), ("labels", LABELS), ("lira", LIRA), ("rmia", RMIA)):
        metrics = {"auc": f"auc_{key}"} | ({"tpr_at_1pct": f"tpr_{key}"} if key != "labels" else {})
        leaks |= attack_figures(audited, name, metrics)
    return leaks | attack_figures(audited, LIRA, {"tpr_at_0p1pct": "tenth_lira"})


def _differences(audited: audit.Report, control: audit.Report) -> dict[str, Estimate]:
    less = audit.differences(audited, control)
    names = {"threshold": THRESHOLD, "lira": LIRA, "rmia": RMIA}
    figures = {f"less_{key}": less[name]["auc"] for key, name in names.items()}
    if audited.resolved("tpr_at_1pct"):
        figures["less_tpr"] = reports.percent(less[LIRA]["tpr_at_1pct"])
    return figures


def _summary(config: Config, member: np.ndarray) -> str:
    return (
        "Does quantization protect against the strongest attacks, or only against thresholds on the model's outputs? "
        f"Each row is {config.models} models, each trained on its own random members ({members(member)} records); "
        f"every model is attacked in turn, with the other {config.models - 1} as its shadows. Figures are means "
        "with 95 % intervals over the models; differences are paired, model by model, with the control on the same "
        f"members: {METHODS[USUAL_CONTROL].label}, unless the row names another. Threshold is on modified entropy, "
        "LiRA is online, with Student's t."
    )
