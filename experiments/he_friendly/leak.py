"""Who was in the training data: does an HE-friendly student say more or less of it than its ReLU teacher?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.common import TEST, TRAIN, accuracies, attack_figures, members, paths_below
from experiments.he_friendly.config import Config
from experiments.he_friendly.methods import METHODS, TEACHER
from experiments.he_friendly.train import Trained
from gecko_jax import audit, files, reports, training
from gecko_jax.audit.report.exhibits import roc_curves
from gecko_jax.types import Dataset

# Named beforehand: choosing the best attack on the targets would flatter it. Few shadows take Student's t.
ATTACKS = {"lira": "lira_student", "rmia": "rmia"}

COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("auc_lira", "LiRA AUC", "", 3, "low"),
    reports.Column("auc_rmia", "RMIA AUC", "", 3, "low"),
    reports.Column("tpr_lira", "LiRA TPR @ 1 % FPR", "%", 2, "low"),
    reports.Column("less_lira", "LiRA AUC − teacher's", "", 3, "low"),
    reports.Column("less_rmia", "RMIA AUC − teacher's", "", 3, "low"),
)


class _Outputs:
    """Logits of a row's models on the pool and on the test set."""

    def __init__(self, trained: Trained, data: Dataset):
        self.pool, self.test = (
            training.predict_ensemble(trained.model, trained.variables, part.x) for part in (data.train, data.test)
        )


def study(config: Config, rows: Mapping[str, Trained], data: Dataset, member: np.ndarray) -> reports.Study:
    """Attacks every model of every row, with the other models of its row as shadows, and returns the table.

    Args:
      config: the settings.
      rows: {method: its models}, the teacher first; all rows on the same members.
      data: the data set; member: bool [m, n], who was trained on what.
    """
    lines, rocs, warnings, written, teacher = [], {}, [], [], None
    home = Path(config.output) / "leak" / "rows"
    for name, trained in rows.items():
        method, outputs = METHODS[name], _Outputs(trained, data)
        audited = audit.audit_models(outputs.pool, data.train.y, member, attacks=list(ATTACKS.values()))
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        written.append(files.write_atomic(folder / "audit.json", audited.to_json()))
        figures = accuracies(outputs, data, member)
        del figures["ece"]
        for key, attack in ATTACKS.items():
            figures |= attack_figures(audited, attack, {"auc": f"auc_{key}"})
        figures |= attack_figures(audited, ATTACKS["lira"], {"tpr_at_1pct": "tpr_lira"})
        if name == TEACHER:
            teacher = audited
        else:
            less = audit.differences(audited, teacher)
            figures |= {f"less_{key}": less[attack]["auc"] for key, attack in ATTACKS.items()}
        lines.append(reports.Row(method.label, figures, "", method.note))
        rocs[method.label] = audited.curves[ATTACKS["lira"]]
        warnings += audited.warnings
    return reports.Study(
        title=f"What HE-friendly students leak on {data.name}",
        summary=f"Each row is {config.leak_models} models, each trained on its own random members ({members(member)} "
        "examples); every model is attacked in turn, with the others of its row as shadows. A student's teacher was "
        "trained on the student's own members. Figures are means with 95 % intervals over the models; differences are "
        "paired, model by model, with the teacher on the same members. LiRA is online, with Student's t.",
        rows=tuple(lines),
        columns=tuple(column for column in COLUMNS if any(column.key in line.figures for line in lines)),
        exhibits=(roc_curves(rocs),),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(warnings))),
        record={"attacks": ATTACKS, "files": paths_below(Path(config.output) / "leak", written)},
    )
