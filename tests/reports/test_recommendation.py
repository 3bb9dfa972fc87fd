"""Budgets against naive comparisons, and the words of a recommendation."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from gecko_jax.reports import Column, Row, Study, read_results, recommend, write_record
from gecko_jax.reports.budgets import read_budgets, verdict
from gecko_jax.reports.units import quantity
from gecko_jax.types import Estimate


def naive(study, bounds):
    """The names of rows that keep to {key: (limit, +1 if at most, -1 if at least)}."""
    return {
        row.name
        for row in study.rows
        if all(
            key in row.figures and sign * row.figures[key].value <= sign * limit
            for key, (limit, sign) in bounds.items()
        )
    }


def test_fitting_rows_are_those_of_a_naive_comparison(study):
    random = np.random.default_rng(3)
    signs = {"bytes": 1, "test": -1, "auc": 1, "energy": 1}
    seen = set()
    for _ in range(60):
        keys = random.permutation(list(signs))[: random.integers(1, 5)]
        figures = {key: [row.figures[key].value for row in study.rows if key in row.figures] for key in keys}
        limits = {key: float(random.choice(values) * random.choice([0.99, 1, 1.01])) for key, values in figures.items()}
        units = {"bytes": "B", "test": "%", "auc": "", "energy": "µJ"}
        result = recommend(study, {key: f"{limit!r}{units[key]}" for key, limit in limits.items()})
        wanted = naive(study, {key: (limit, signs[key]) for key, limit in limits.items()})
        assert {each.row.name for each in result.fitting} == wanted
        assert len(result.fitting) + len(result.others) == len(study.rows)
        seen.add(len(wanted))
    assert 0 in seen and len(seen) > 3


def test_a_suggested_change_lets_the_model_in_and_a_smaller_one_does_not(study):
    limits = {"max_bytes": "100kB", "min_accuracy": "86%", "max_attack_accuracy": "52%"}
    text = str(recommend(study, limits))
    changes = re.findall(r"^  (.*) at (most|least) ([\d,.]+) (\S+) \(.*\) would let (.*) in\.$", text, re.M)
    assert changes == [("Stored bytes", "most", "203,052", "B", "Phase II homogeneous")]
    for limit, names in (("203052B", ["Phase II homogeneous"]), ("203051B", [])):
        result = recommend(study, limits | {"max_bytes": limit})
        assert [each.row.name for each in result.fitting] == names
    assert "Stored bytes at most 100,000 B: fails; BinaryConnect misses it least, by 103,052 B (103 % of it)." in text


def test_several_broken_budgets_are_named_with_their_amounts(study):
    text = str(recommend(study, {"max_bytes": "100kB", "min_accuracy": "93%"}))
    assert "Test accuracy at least 93.00 %: fails; Full precision misses it least, by 0.65 points." in text
    assert "No change of one budget helps. Models that break only 2 of them:" in text
    assert "  XNOR Phase I breaks Stored bytes at most 100,000 B by 103,052 B" in text


def test_the_best_comes_first_with_its_figures_its_doubts_and_its_command(study):
    rows = tuple(row._replace(command=f"make {i}") for i, row in enumerate(study.rows))
    result = recommend(dataclasses.replace(study, rows=rows), {"min_accuracy": 0.87, "max_attack_accuracy": "52%"})
    assert [each.row.name for each in result.fitting] == ["Phase II homogeneous"]
    lines = str(result).splitlines()
    assert lines[1].startswith(
        "Take Phase II homogeneous: Test accuracy 87.35 ± 0.34 % (measured), Attack accuracy 51.90"
    )
    assert lines[2] == (
        "  Uncertain: the 95 % interval of its Attack accuracy reaches 0.32 points past the budget of 52.00 %."
    )
    assert "  make 4" in lines and "only an ε bounds" in lines[-1]
    certain = recommend(study, {"min_accuracy": "87%", "max_attack_accuracy": "55%"})
    assert [each.row.name for each in certain.fitting][:3] == [
        "BinaryConnect",
        "Phase II heterogeneous",
        "Phase II homogeneous",
    ]


def test_a_figure_that_is_absent_nan_or_not_resolved_does_not_fit():
    rows = (
        Row("absent", {}),
        Row("nan", {"tpr_at_1pct": Estimate(float("nan"), unit="%")}),
        Row("few", {"tpr_at_1pct": Estimate(0.1, unit="%")}, unresolved=("tpr_at_1pct",)),
        Row("known", {"tpr_at_1pct": Estimate(1.5, unit="%")}),
    )
    study = Study("t", "", rows, (Column("tpr_at_1pct", "TPR", "%", 1, "low"),))
    assert [each.row.name for each in recommend(study, {"max_tpr": "2%"}).fitting] == ["known"]
    alone = dataclasses.replace(study, rows=rows[1:3])
    assert "fails, because no model has such a figure" in str(recommend(alone, {"max_tpr": 0.02}))


def test_a_limit_of_a_leak_holds_for_every_attack():
    columns = tuple(Column(key, key, "", 3, "low") for key in ("auc", "lira_auc", "tpr_at_1pct", "rmia_auc"))
    study = Study(
        "t", "", (Row("a", {"auc": Estimate(0.5), "lira_auc": Estimate(0.7), "rmia_auc": Estimate(0.6)}),), columns
    )
    budgets = read_budgets(study, {"max_auc": 0.6})
    assert [budget.column.key for budget in budgets] == ["auc", "lira_auc", "rmia_auc"]
    assert [verdict(budget, study.rows[0]).excess > 0 for budget in budgets] == [False, True, False]


@pytest.mark.parametrize(
    "limits, message",
    [
        ({}, "no budget is given"),
        ({"max_byte": 3}, "Did you mean 'max_bytes'"),
        ({"max_bytes": "2%"}, "is in '%'; expected 64000, 64kB or 64KiB"),
        ({"max_bytes": "64,5kB"}, "must be a number, with or without a unit"),
        ({"min_accuracy": 90}, "or have a percent sign: 90%"),
        ({"max_energy": 30}, "max_energy=30 needs a unit, such as 30µJ"),
        ({"max_epsilon": 8}, "the table has no such column"),
        ({"binary_macs": 8}, "neither end of this column is better"),
        ({"auc": True}, "must be a number"),
        ({"max_auc": 55}, "max_auc=55 bounds Attack AUC, a rate: give at most 1, such as 0.55 or 55%"),
        ({"auc": "55"}, "auc=55 bounds Attack AUC, a rate"),
        ({"max_attack_accuracy": "200%"}, "max_attack_accuracy=200% bounds "),
        ({"min_accuracy": "101%"}, "min_accuracy=101% bounds Test accuracy, a rate"),
        ({"max_bytes": "-64kB"}, "max_bytes=-64kB must be at least 0"),
        ({"max_auc": "-0.5"}, "max_auc=-0.5 must be at least 0"),
    ],
)
def test_what_cannot_be_a_budget_is_refused(study, limits, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        recommend(study, limits)


@pytest.mark.parametrize(
    "text, unit, value",
    [("64KiB", "kB", 65.536), ("1,200,000", "MB", 1.2), ("30uJ", "nJ", 30000), ("29%", "", 0.29), (".29", "%", 29),
     ("1e3B", "kB", 1), ("3 ms", "s", 0.003), ("inf", "", float("inf")), ("2", "", 2)],
)  # fmt: skip
def test_quantities_in_other_units(text, unit, value):
    assert quantity("limit", text, unit) == value


def test_results_alone_and_beside_their_record(tmp_path, study):
    written = write_record(tmp_path, dataclasses.replace(study, exhibits=()))
    assert read_results(tmp_path) == read_results(tmp_path / "results.csv") == written
    (tmp_path / "record.json").unlink()
    alone = read_results(tmp_path / "results.csv")
    assert [row.figures for row in alone.rows] == [row.figures for row in written.rows]
    ends = {column.key: column.better for column in alone.columns}
    assert ends["bytes"] == ends["auc"] == "low" and ends["test"] == "high" and ends["train"] is None
    assert "results.csv alone" in alone.notes.warnings[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n", "expected the header 'row,metric,value,low,high,kind,unit,n'"),
        ("{header}\na,auc,0.5,,,measured,\n", "line 2: 7 fields, expected 8"),
        ("{header}\na,auc,x,,,measured,,\n", "line 2: could not convert string to float: 'x'"),
        ("{header}\na,auc,1,,,measured,,\na,auc,2,,,measured,,\n", "line 3: a / auc stands there already"),
        ("{header}\n", "is empty"),
        ("{header}\na,auc,1,,,guessed,,\n", "line 2: auc='guessed' is not known. Known: measured, counted, modeled"),
        ("{header}\na,auc,1,0.9,,measured,,\n", "line 2: auc has only one end of its interval"),
        ("{header}\na,auc,1,,,measured,,-8\n", "line 2: n=-8 must be at least 0"),
        ("{header}\na, auc,1,,,measured,,\n", "line 2: metric=' auc' must be a name without spaces around it"),
        ("{header}\n,auc,1,,,measured,,\n", "line 2: row='' must be a name"),
    ],
)
def test_a_file_that_is_not_results_is_refused(tmp_path, text, message):
    path = tmp_path / "figures.csv"
    path.write_text(text.format(header="row,metric,value,low,high,kind,unit,n"))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_results(path)


def test_the_nearest_are_few_and_ratios_are_told_of_amounts_alone(study):
    lines = str(recommend(study, {"max_bytes": "100kB", "min_accuracy": "93%", "max_auc": 0.5})).splitlines()
    assert "Attack AUC at most 0.500: fails; DP, ε = 8 misses it least, by 0.003." in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("No change of one budget helps."))
    assert lines[start].endswith("Models that break only 3 of them:") and lines[start + 4] == "  and 5 more."
