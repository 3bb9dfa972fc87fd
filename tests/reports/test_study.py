from __future__ import annotations

import numpy as np
import pytest

from gecko_jax.reports import (
    Column,
    Curve,
    Histogram,
    Histograms,
    Reliability,
    ReliabilityDiagrams,
    RocCurves,
    Row,
    Study,
    Tradeoff,
    TrainingCurves,
    percent,
)
from gecko_jax.reports.rows import best, half_width
from gecko_jax.types import Estimate

COLUMNS = (Column("acc", "Accuracy", "%", 1, "high"), Column("auc", "AUC", "", 2, "low"), Column("n", "Count"))


def build(*rows, columns=COLUMNS, exhibit=None):
    return Study("title", "summary", rows or (Row("a", {}),), columns, () if exhibit is None else (exhibit,))


def histograms(*parts, groups=("in", "out")):
    return Histograms("h", groups, parts)


def diagrams(*parts):
    return ReliabilityDiagrams("d", parts)


@pytest.mark.parametrize(
    ("rows", "kwargs", "message"),
    [
        ((Row("a", {}), Row("a", {})), {}, "rows hold 'a' more than once"),
        ((), {"columns": (*COLUMNS, Column("acc", "x"))}, "columns hold 'acc' more than once"),
        ((), {"columns": ()}, "columns is empty"),
        ((), {"exhibit": histograms(*2 * [Histogram("a", [0, 1], [[1], [1]])])}, "of 'h' hold 'a' more than once"),
        ((), {"columns": (Column("a", "A", better="hgih"),)}, "Did you mean 'high'"),
        ((Row("a", {"accu": Estimate(1.0)}),), {}, "figure of row 'a'='accu' is not known. Did you mean 'acc'"),
        ((Row("a", {}, published={"ac": 1.0}),), {}, "published figure of row 'a'='ac'"),
        ((Row("a", {"acc": Estimate(0.9)}),), {}, "is in '' and its column in '%'; convert it"),
        ((Row("a", {"auc": Estimate(0.9, kind="guessed")}),), {}, "'guessed' is not known"),
        ((Row("a", {"auc": Estimate(0.9, 0.8)}),), {}, "only one end of its interval"),
        ((Row("a", {"auc": Estimate(0.9, 0.95, 0.8)}),), {}, "low=0.95 above high=0.8"),
        ((Row("a", {"auc": Estimate("0.9")}),), {}, "value='0.9'; it must be a Python number"),
        ((), {"exhibit": Tradeoff("acc", "acu")}, "Did you mean 'auc'"),
        ((), {"exhibit": Tradeoff("acc", "n")}, "must say whether 'high' or 'low' is better"),
        ((), {"exhibit": RocCurves("r", [Curve("a", [0, 1], [0])])}, "parts of lengths"),
        ((), {"exhibit": TrainingCurves("t", [Curve("a", [], [])])}, "above 0"),
        ((), {"exhibit": RocCurves("r", [Curve("a", [0], [0], [0])])}, "only one side of its band"),
        ((), {"exhibit": RocCurves("r", [Curve("b", [0], [0])], Curve("a", [0], []))}, "'a' has parts of lengths"),
        ((), {"exhibit": RocCurves("r", [])}, "curves of 'r' is empty"),
        ((), {"exhibit": histograms(Histogram("a", [0, 1], [[1], [1, 2]]))}, "parts of lengths"),
        ((), {"exhibit": histograms(Histogram("a", [0, 1], [[1]]))}, "parts of lengths"),
        ((), {"exhibit": histograms(Histogram("a", [0, 1], 3 * [[1]]), groups="abc")}, "groups of 'h' has shape"),
        ((), {"exhibit": diagrams(*2 * [Reliability("a", [0, 1], *[[0.5]] * 5)])}, "of 'd' hold 'a' more than once"),
        ((), {"exhibit": diagrams(Reliability("a", [0, 1], *[[0.5]] * 4, [1, 2]))}, "parts of lengths"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(rows, kwargs, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        build(*rows, **kwargs)


def test_best_rows_of_a_column():
    study = build(
        Row("a", {"acc": Estimate(90.0, unit="%"), "auc": Estimate(0.6)}),
        Row("b", {"acc": Estimate(90.0, unit="%"), "auc": Estimate(0.5)}),
        Row("c", {"acc": Estimate(float("nan"), unit="%")}),
    )
    assert best(study, COLUMNS[0]) == ("a", "b")
    assert best(study, COLUMNS[1]) == ("b",)
    assert best(study, COLUMNS[2]) == ()


def test_percent_scales_everything_once():
    estimate = percent(Estimate(0.25, 0.125, 0.5, "measured", "", 40))
    assert estimate == Estimate(25.0, 12.5, 50.0, "measured", "%", 40)
    assert half_width(estimate) == np.ptp([12.5, 50.0]) / 2
    assert half_width(percent(Estimate(0.25))) is None
    with pytest.raises(ValueError, match="unit"):
        percent(estimate)
