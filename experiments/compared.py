"""Saved runs side by side for scripts/compare.py: accuracy, bytes, memory, energy and leak, and paired differences.

Leaks are those of audits that were made before: audit.json and audit_exported.json in a run's folder. Their attacks are
fixed here, because the strongest of many would be the strongest by luck as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import fine_tuned, one_model
from gecko_jax import checks, costs, files, metrics, reports, training
from gecko_jax.audit.report.results import FPR_OF_METRIC
from gecko_jax.trees import take
from gecko_jax.types import Estimate

ATTACKS = {"lira": "LiRA", "rmia": "RMIA", "loss": "Loss"}
AUDITS = {"": "audit.json", "exported_": "audit_exported.json"}  # prefix of the columns -> file of scripts/audit.py
MARKER_FILE = "model.json"

COLUMNS = (
    reports.Column("test", "Test accuracy", "%", 2, "high"),
    reports.Column("bytes", "Deployed", "B", 0, "low"),
    reports.Column("ram", "Peak activations", "B", 0, "low"),
    reports.Column("energy", "Energy", "µJ", 3, "low"),
    reports.Column("epsilon", "ε", "", 2, "low"),
    *(
        reports.Column(f"{prefix}{attack}_{metric}", f"{name} {heading}{where}", unit, digits, "low")
        for prefix, where in (("", ""), ("exported_", ", exported"))
        for attack, name in ATTACKS.items()
        for metric, heading, unit, digits in (("auc", "AUC", "", 3), ("tpr_at_1pct", "TPR @ 1% FPR", "%", 2))
    ),
)


class Run(NamedTuple):
    """A saved run, and what is known of it.

    Attributes:
      name: in the tables.
      folder: where it lies.
      saved: its models.
      correct: bool [m, t], which of the test rows each model has right.
      cost: of one model.
      audits: prefix of the columns -> figures of an audit, as its JSON file has them.
    """

    name: str
    folder: Path
    saved: one_model.Saved
    correct: np.ndarray
    cost: costs.Cost
    audits: dict[str, dict[str, Any]]


class Comparison(NamedTuple):
    """Runs side by side.

    Attributes:
      study: one row a run.
      differences: one row for each run but the first, its figures minus those of the first; None of one run.
    """

    study: reports.Study
    differences: reports.Study | None


def compare(folders: Sequence[str | Path], memory: str = "dram") -> Comparison:
    """Compares saved runs of scripts/train.py, all of one data set; differences are from the first.

    Args:
      folders: of the runs. Others among them (of studies, of scripts/fine_tune.py) are left out, which a warning says.
      memory: that weights are read from, in the energy model.

    Raises:
      ValueError: no run, a folder given twice, a damaged run, or runs of several data sets.
    """
    paths, warnings = [], []
    for path in map(Path, folders):
        if (path / MARKER_FILE).is_file() and not fine_tuned.is_run(path):
            paths.append(path)
        else:
            warnings.append(f"Left out: {path}, which holds no run of scripts/train.py.")
    if not paths:
        names = checks.listed(map(str, folders))
        raise ValueError(f"no folder of {names} holds a run of scripts/train.py. Name their --output folders: runs/*.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"a run is given twice: {', '.join(map(str, paths))}. Name each once.")
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    runs = [_run(name, path, memory, warnings) for name, path in zip(names, paths, strict=True)]
    first = runs[0]
    for run in runs[1:]:
        one, other = ((each.saved.config.dataset, each.saved.config.data_dir) for each in (first, run))
        if one != other:
            raise ValueError(
                f"{first.folder} is of the data set {one[0]!r} ({one[1]}), and {run.folder} of {other[0]!r} "
                f"({other[1]}); compare runs of one data set."
            )
    record = {"config": {"runs": [str(run.folder) for run in runs], "memory": memory}}
    record |= {"seeds": [run.saved.config.seed for run in runs], "timings": {}}
    rows = tuple(_row(run) for run in runs)
    notes = reports.Notes(warnings=tuple(warnings), footnotes=(_INTERVALS, _COSTS.format(memory=memory)))
    study = reports.Study("Saved runs", "", rows, _used(rows, COLUMNS), notes=notes, record=record)
    return Comparison(study, _differences(first, runs[1:]) if runs[1:] else None)


_INTERVALS = (
    "Of several models: means, with Student t intervals over models. Of one: intervals over records, which do not say "
    "how much another training would differ. A leak is what these attacks found; only ε bounds what others may find."
)
_COSTS = "Bytes with normalization folded; peak activations by liveness; energy modeled, weights read from {memory}."


def _run(name: str, folder: Path, memory: str, warnings: list[str]) -> Run:
    """Reads a run and its audits; an audit of other models than the folder's gives a warning, and no figure."""
    saved, data = one_model.load(folder)
    logits = training.predict_ensemble(saved.model, saved.variables, data.test.x)
    cost = costs.cost(saved.model, take(saved.variables, 0), data.test.x[:1], memory)
    audits = {}
    for prefix, file in AUDITS.items():
        if not (folder / file).is_file():
            continue
        try:
            figures = json.loads((folder / file).read_bytes())
            if MARKER_FILE not in figures["files"]:
                raise ValueError(f"it names no {MARKER_FILE}")
            files.check_present(folder, figures["files"])
            audits[prefix] = {key: figures[key] for key in ("rows", "targets", "nonmembers", "design_hash")}
        except (ValueError, KeyError, TypeError) as error:
            warnings.append(f"{folder / file} is not an audit of the models in its folder ({error}). Audit them again.")
    return Run(name, folder, saved, logits.argmax(-1) == np.asarray(data.test.y)[None], cost, audits)


def _row(run: Run) -> reports.Row:
    cost, privacy = run.cost, run.saved.privacy
    energy = cost.energy.map(lambda joules: 1e6 * joules)._replace(unit="µJ")
    figures = {"test": _accuracy(run.correct), "bytes": cost.deployed_bytes, "ram": cost.peak_activation_bytes}
    figures["energy"] = energy
    if privacy and not privacy.warning:
        figures["epsilon"] = privacy.epsilon.estimate()
    unresolved = []
    for prefix, audit in run.audits.items():
        for attack in ATTACKS:
            for metric in ("auc", "tpr_at_1pct"):
                if attack not in audit["rows"]:
                    continue
                key, estimate = f"{prefix}{attack}_{metric}", _estimate(audit["rows"][attack][metric])
                figures[key] = reports.percent(estimate) if metric in FPR_OF_METRIC else estimate
                if metric in FPR_OF_METRIC and min(audit["nonmembers"]) * FPR_OF_METRIC[metric] < 1 - 1e-9:
                    unresolved.append(key)
    note = privacy.warning if privacy and privacy.warning else ""
    return reports.Row(run.name, figures, note=note, unresolved=unresolved)


def _estimate(fields: dict[str, Any]) -> Estimate:
    """Returns an Estimate from its JSON, in which a number that is not finite is a word."""
    low, high = (None if fields[end] is None else float(fields[end]) for end in ("low", "high"))
    return Estimate(float(fields["value"]), low, high, fields["kind"], fields["unit"], fields["n"])


def _accuracy(correct: np.ndarray) -> Estimate:
    """Returns the test accuracy in percent: over models, or of one model over rows."""
    if len(correct) > 1:
        return metrics.mean_interval(100 * correct.mean(1), unit="%")
    hits, count = int(correct.sum()), correct.shape[1]
    low, high = metrics.clopper_pearson(hits, count)
    return reports.percent(Estimate(hits / count, low, high, n=count))


def _used(rows: Sequence[reports.Row], columns: Sequence[reports.Column]) -> tuple[reports.Column, ...]:
    return tuple(column for column in columns if any(column.key in row.figures for row in rows))


def _differences(first: Run, others: Sequence[Run]) -> reports.Study:
    """Returns the figures of runs minus those of the first."""
    warnings: list[str] = []
    rows = tuple(reports.Row(run.name, _less(run, first, warnings)) for run in others)
    columns = tuple(column._replace(better=None) for column in _used(rows, COLUMNS))
    notes = reports.Notes(warnings=tuple(warnings), footnotes=(_PAIRED,))
    return reports.Study(f"Minus {first.name}", "", rows, columns, notes=notes)


_PAIRED = (
    "Paired: over models with the same members (accuracies and leaks), or over the test rows of two single models, "
    "which says how these two differ, and not how two trainings would. Bytes and energy are plain differences."
)


def _less(run: Run, first: Run, warnings: list[str]) -> dict[str, Estimate]:
    costs_of = [_row(each).figures for each in (run, first)]
    figures = {
        key: Estimate(costs_of[0][key].value - costs_of[1][key].value, kind=costs_of[0][key].kind, unit=unit)
        for key, unit in (("bytes", "B"), ("ram", "B"), ("energy", "µJ"))
    }
    correct = [100.0 * each.correct for each in (run, first)]
    several = [len(each) > 1 for each in correct]
    if all(several) and np.array_equal(run.saved.member, first.saved.member):
        figures["test"] = metrics.paired_difference(*(each.mean(1) for each in correct), unit="%")
    elif not any(several):
        figures["test"] = metrics.paired_difference(*(each[0] for each in correct), unit="%")
    else:
        warnings.append(
            f"{run.name} and {first.name} are not of the same members, model by model: their accuracies have no pairs. "
            "Train both with the same --models, --seed and --member_rate."
        )
    for prefix, audit in run.audits.items():
        other = first.audits.get(prefix)
        if other is None:
            continue
        if audit["design_hash"] != other["design_hash"] or len(audit["targets"]) < 2:
            warnings.append(
                f"{AUDITS[prefix]} of {run.name} and of {first.name} have no pairs of targets with the same members: "
                "their leaks have no paired difference. Audit runs of the same --models, at least 2."
            )
            continue
        for attack in ATTACKS:
            if attack in audit["rows"] and attack in other["rows"]:
                figures |= _leaks(prefix, attack, audit["targets"], other["targets"])
    return figures


def _leaks(prefix: str, attack: str, ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Estimate]:
    figures = {}
    for metric, factor, unit in (("auc", 1.0, ""), ("tpr_at_1pct", 100.0, "%")):
        mine, other = ([factor * float(each[attack][metric]["value"]) for each in one] for one in (ours, theirs))
        figures[f"{prefix}{attack}_{metric}"] = metrics.paired_difference(mine, other, unit=unit)
    return figures
