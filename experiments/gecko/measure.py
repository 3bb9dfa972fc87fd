"""What each row leaks, is worth and costs: trained models in, a `reports.Study` out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments import flags, unchanged
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from experiments.gecko.published import published
from experiments.gecko.train import Trained
from gecko_jax import audit, costs, files, integer, metrics, reports
from gecko_jax.audit.report.exhibits import roc_curves, signal_histograms
from gecko_jax.privacy import Epsilon
from gecko_jax.privacy.accounting.epsilon import ACCOUNTANTS, ADJACENCIES
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate

# The paper's own kind, named beforehand: choosing the best attack on the target would flatter it. What the others find
# stands in rows/*/*/audit.json, and in experiments/audit.
ATTACK = "modified_entropy"

COLUMNS = (
    reports.Column("train", "Train accuracy", "%", 2),
    reports.Column("test", "Test accuracy", "%", 2, "high"),
    reports.Column("attack", "Attack accuracy", "%", 2, "low"),
    reports.Column("auc", "Attack AUC", "", 3, "low"),
    reports.Column("tpr_at_1pct", "TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1% FPR", "%", 2, "low"),
    reports.Column("ece", "Test ECE", "%", 2, "low"),
    reports.Column("epsilon", "ε", "", 2, "low"),  # its heading gets the delta
    reports.Column("bytes", "Deployed", "kB", 1, "low"),
    reports.Column("file", "Packed file", "kB", 1, "low"),
    reports.Column("parameters", "Parameters", "", 0),
    reports.Column("binary_parameters", "of them 1-bit", "", 0),
    reports.Column("macs", "Float MACs", "", 0, "low"),
    reports.Column("binary_macs", "Binary MACs", "", 0),
    reports.Column("peak", "Peak activations", "kB", 1, "low"),
    reports.Column("energy", "Energy", "µJ", 2, "low"),
)

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def study(config: Config, data: Dataset, member: np.ndarray, trained: list[Trained], seconds: float) -> reports.Study:
    """Audits and prices every row, writes their packed files and audits, and gathers the report.

    Args:
      config: the settings.
      data: the data set; member: bool [m, n], who trained on what.
      trained: the rows.
      seconds: wall time until here.
    """
    rows, rocs, histograms, curves, notes, several = [], {}, {}, [], [], len(config.architectures) > 1
    written = []
    for row in trained:
        name = f"{row.architecture}: {METHODS[row.method].label}" if several else METHODS[row.method].label
        folder = Path(config.output) / "rows" / row.architecture / row.method
        folder.mkdir(parents=True, exist_ok=True)
        audited = audit.audit_models(row.pool, data.train.y, member)  # of outputs alone, which costs seconds
        written += [files.write_atomic(folder / "audit.json", audited.to_json()), folder / "model.packed"]
        figures = {**accuracies(row, data, member), **_leaks(audited), **_costs(row, data, folder)}
        note, group = METHODS[row.method].note, row.architecture if several else ""
        if row.epsilon is not None:
            figures["epsilon"] = row.epsilon.estimate()
            note = "; ".join((note, *map(str, row.epsilon.phases)))
        rows.append(reports.Row(name, figures, group, note, published(config.dataset, row.architecture, row.method)))
        rocs[name], histograms[name] = audited.curves[ATTACK], audited.confidence_histogram
        mean = row.history.mean(1)
        curves.append(reports.Curve(name, np.arange(1, len(mean) + 1).tolist(), mean.tolist()))
        notes += [f"{warning[0].upper()}{warning[1:]}." for warning in audited.warnings]
    notes += dict.fromkeys(guarantee(config, row.epsilon) for row in trained if row.epsilon is not None)
    return reports.Study(
        title=f"Gecko on {config.dataset}",
        summary=_summary(config, member),
        rows=tuple(rows),
        columns=columns(config, rows),
        exhibits=(
            reports.Tradeoff("test", "auc", "bytes"),
            roc_curves(rocs),
            signal_histograms(histograms),
            reports.TrainingCurves("Training curves", tuple(curves), note="Mean over the models."),
        ),
        notes=reports.Notes(warnings=tuple(dict.fromkeys(notes))),
        record=_record(config, trained, seconds) | {"files": beside(config.output, written)},
    )


def columns(
    config: Config, rows: list[reports.Row], known: tuple[reports.Column, ...] = COLUMNS
) -> tuple[reports.Column, ...]:
    """Those of the known columns that some row has a figure for."""
    found = [column for column in known if any(column.key in row.figures for row in rows)]
    heading = f"ε at δ={_power(config.delta)}"
    return tuple(column._replace(heading=heading) if column.key == "epsilon" else column for column in found)


def _power(delta: float) -> str:
    """As it is printed: 10⁻⁴ for 0.0001."""
    mantissa, exponent = f"{delta:e}".split("e")
    factor = f"{float(mantissa):g}·" if float(mantissa) != 1 else ""
    return f"{factor}10{str(int(exponent)).translate(SUPERSCRIPT)}"


def guarantee(config: Config, epsilon: Epsilon) -> str:
    """What all private rows have in common."""
    return (
        f"ε: DP-Adam with {config.clipping} clipping; {ADJACENCIES[epsilon.adjacency]}; δ = {_power(epsilon.delta)}; "
        f"{ACCOUNTANTS[epsilon.accountant]}. It is a guarantee for one model of its row, whatever the attack; rows "
        "without it have none, however little these attacks find. It covers neither the choice of settings nor this "
        "report, whose figures are computed on the training data."
    )


def _summary(config: Config, member: np.ndarray) -> str:
    low, high = member.sum(1).min(), member.sum(1).max()
    return (
        "Accuracy, membership leakage and cost of the same network under different quantisation and training. Each "
        f"row is {config.models} models, each trained on its own random members ({low} to {high} of {member.shape[1]} "
        "examples); every model is attacked in turn, with thresholds chosen on the others. Figures are means with 95 % "
        f"intervals over the models; the attack is {ATTACK.replace('_', ' ')}, the other attacks stand in "
        "rows/*/*/audit.json."
    )


def accuracies(row: Trained, data: Dataset, member: np.ndarray) -> dict[str, Estimate]:
    y, test_y = np.asarray(data.train.y), np.asarray(data.test.y)
    train = [metrics.accuracy(logits[own], y[own]) for logits, own in zip(row.pool, member, strict=True)]
    test = [metrics.accuracy(logits, test_y) for logits in row.test]
    ece = [metrics.expected_calibration_error(_softmax(logits), test_y) for logits in row.test]
    figures = {"train": train, "test": test, "ece": ece}
    return {name: reports.percent(metrics.mean_interval(np.array(v))) for name, v in figures.items()}


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _leaks(audited: audit.Report) -> dict[str, Estimate]:
    figures = audited.rows[ATTACK]
    leaks = {"attack": reports.percent(figures["attack_accuracy"]), "auc": figures["auc"]}
    for key in ("tpr_at_1pct", "tpr_at_0p1pct"):
        if audited.resolved(key):
            leaks[key] = reports.percent(figures[key])
    return leaks


def _costs(row: Trained, data: Dataset, folder: Path) -> dict[str, Estimate]:
    """Of the first model; the cost of the others is the same. The packed file is written and its size compared.

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
        "energy": Estimate(cost.energy.value * 1e6, kind="modelled", unit="µJ"),
    }


def beside(folder: str | Path, written: list[Path]) -> list[str]:
    """Paths of the files that a study wrote, below its folder, so that its record can name their digests."""
    return [path.relative_to(folder).as_posix() for path in written]


def _record(config: Config, trained: list[Trained], seconds: float) -> dict[str, Any]:
    timings = {f"{row.architecture}/{row.method}": round(row.seconds, 2) for row in trained}
    return {
        "config": flags.to_dict(config),
        "code": unchanged.code_digest(),
        "seeds": list(range(config.models)),
        "timings": {**timings, "total": round(seconds, 2)},
        "attack": ATTACK,
        "privacy": {f"{row.architecture}/{row.method}": str(row.epsilon) for row in trained if row.epsilon is not None},
    }
