"""What the studies of membership share: columns, accuracies, and sentences about members and guarantees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.special import softmax

from gecko_jax import audit, metrics, reports
from gecko_jax.privacy import Epsilon
from gecko_jax.privacy.accounting.epsilon import ACCOUNTANTS, ADJACENCIES
from gecko_jax.types import Dataset, Estimate

TRAIN = reports.Column("train", "Train accuracy", "%", 2)
TEST = reports.Column("test", "Test accuracy", "%", 2, "high")
ECE = reports.Column("ece", "Test ECE", "%", 2, "low")
EPSILON = reports.Column("epsilon", "ε", "", 2, "low")  # `filled_columns` adds the delta to its heading

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Outputs(Protocol):
    """Logits of m models: `pool` [m, n, classes] on what members are drawn from, `test` [m, k, classes]."""

    pool: np.ndarray
    test: np.ndarray


def accuracies(outputs: Outputs, data: Dataset, member: np.ndarray) -> dict[str, Estimate]:
    """Returns the figures "train", "test" and "ece" in %, each a mean with a 95 % interval over the models.

    Args:
      outputs: of the models.
      data: with the labels of the pool and of the test set.
      member: bool [m, n], who was trained on what; train accuracy is on a model's own members.
    """
    y, test_y = np.asarray(data.train.y), np.asarray(data.test.y)
    train = [metrics.accuracy(logits[own], y[own]) for logits, own in zip(outputs.pool, member, strict=True)]
    test = [metrics.accuracy(logits, test_y) for logits in outputs.test]
    probabilities = [softmax(logits.astype(np.float64), -1) for logits in outputs.test]
    ece = [metrics.expected_calibration_error(each, test_y) for each in probabilities]
    figures = {"train": train, "test": test, "ece": ece}
    return {name: reports.percent(metrics.mean_interval(np.array(v))) for name, v in figures.items()}


def filled_columns(
    columns: Sequence[reports.Column], rows: Sequence[reports.Row], delta: float
) -> tuple[reports.Column, ...]:
    """Returns the columns that some row has a figure for, the one of ε with its delta in the heading."""
    filled = [column for column in columns if any(column.key in row.figures for row in rows)]
    heading = f"ε at δ={power(delta)}"
    return tuple(column._replace(heading=heading) if column.key == "epsilon" else column for column in filled)


def power(delta: float) -> str:
    """Returns a delta as it is printed.

    >>> power(0.0001), power(2.5e-6)
    ('10⁻⁴', '2.5·10⁻⁶')
    """
    mantissa, exponent = f"{delta:e}".split("e")
    factor = f"{float(mantissa):g}·" if float(mantissa) != 1 else ""
    return f"{factor}10{str(int(exponent)).translate(SUPERSCRIPT)}"


def guarantees(clipping: str, epsilons: Sequence[Epsilon]) -> dict[str, None]:
    """Returns what the private rows of a table have in common: one sentence for each kind of guarantee."""
    return dict.fromkeys(
        f"ε: DP-Adam with {clipping} clipping; {ADJACENCIES[epsilon.adjacency]}; δ = {power(epsilon.delta)}; "
        f"{ACCOUNTANTS[epsilon.accountant]}. It is a guarantee for one model of its row, whatever the attack; rows "
        "without it have none, however little these attacks find. It covers neither the choice of settings nor this "
        "report, whose figures are computed on the training data."
        for epsilon in epsilons
    )


def members(member: np.ndarray) -> str:
    """Returns how many members the models have.

    >>> members(np.array([[True, False, True], [True, False, False]]))
    '1 to 2 of 3'
    """
    sizes = member.sum(1)
    return f"{sizes.min()} to {sizes.max()} of {member.shape[1]}"


def paths_below(folder: str | Path, paths: Sequence[Path]) -> list[str]:
    """Returns the paths of the files that a study wrote, relative to its folder: its record names their digests."""
    return [path.relative_to(folder).as_posix() for path in paths]


def attack_figures(report: audit.Report, attack: str, columns: Mapping[str, str]) -> dict[str, Estimate]:
    """Returns the figures of an attack for a table, rates in %.

    Args:
      report: of a row's models.
      attack: one of its attacks.
      columns: metric -> key of its column. A rate that the non-members are too few to resolve is left out.
    """
    figures = {metric: report.rows[attack][metric] for metric in columns if report.resolved(metric)}
    return {columns[name]: each if name == "auc" else reports.percent(each) for name, each in figures.items()}
