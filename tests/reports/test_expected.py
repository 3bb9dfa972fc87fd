from __future__ import annotations

import math

import pytest

from gecko_jax.reports import Difference, Row, compare_expected, expected_csv
from gecko_jax.reports.expected import tolerance
from gecko_jax.types import Estimate

ROWS = (
    Row("a, b", {"acc": Estimate(90.0, unit="%"), "eps": Estimate(math.inf)}),
    Row("c", {"acc": Estimate(math.nan, unit="%")}),
)


def compare(tmp_path, *lines, header="row,metric,value,tolerance"):
    path = tmp_path / "expected.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return compare_expected(ROWS, path)


def test_within_tolerance_nothing_is_listed(tmp_path):
    assert compare(tmp_path, '"a, b",acc,90.5,0.5', '"a, b",eps,inf,0', "") == []


def test_each_difference_is_listed_in_order(tmp_path):
    listed = compare(tmp_path, "c,acc,50,100", '"a, b",acc,90.5,0.25', '"a, b",acx,1,1', "d,acc,1,1", '"a, b",eps,8,1')
    assert [(d.row, d.metric) for d in listed] == [
        ("c", "acc"),
        ("a, b", "acc"),
        ("a, b", "acx"),
        ("d", "acc"),
        ("a, b", "eps"),
    ]
    assert listed[1] == Difference("a, b", "acc", 90.5, 0.25, 90.0)
    assert str(listed[1]) == "a, b / acc: expected 90.5 ± 0.25, got 90"
    assert str(listed[3]) == "d / acc: expected 1 ± 1, and the figure is missing"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "expected.csv is empty"),
        (("c,acc,1",), "line 2: 3 fields, expected 4"),
        (("c,acc,1,1", "c,acc,2,1"), "line 3: c / acc stands there already"),
        (("c,acc,one,1",), "line 2: could not convert"),
        (("c,acc,1,-1",), "tolerance in .*line 2=-1.0 must lie between 0"),
        (("c,acc,1,nan",), "must lie between"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        compare(tmp_path, *lines)


def test_the_header_is_read(tmp_path):
    with pytest.raises(ValueError, match="expected the header"):
        compare(tmp_path, header="name,metric,value,tolerance")
    with pytest.raises(FileNotFoundError):
        compare_expected(ROWS, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("estimate", "wanted"),
    [
        (Estimate(50.0, 45.0, 55.0, unit="%"), 10.0),
        (Estimate(50.0, 49.9, 50.1, unit="%"), 1.0),  # a floor
        (Estimate(0.7, 0.699, 0.701), 0.01),
        (Estimate(0.7), 0.07),
        (Estimate(3.0, 2.0, 4.0, unit="s"), 2.0),
        (Estimate(8.0, kind="modeled"), 0.04),
        (Estimate(4000, kind="counted"), 4e-6),
        (Estimate(float("inf"), kind="modeled"), 0.0),
    ],
)
def test_tolerances_follow_the_kind_of_figure(estimate, wanted, tmp_path):
    assert tolerance(estimate) == pytest.approx(wanted)
    rows = [Row("a, b", {"x": estimate, "nan": Estimate(float("nan"))})]
    path = tmp_path / "made.csv"
    path.write_text(expected_csv(rows))
    assert compare_expected(rows, path) == []
    if wanted:
        moved = [Row("a, b", {"x": estimate._replace(value=estimate.value + 1.01 * wanted)})]
        assert len(compare_expected(moved, path)) == 1
