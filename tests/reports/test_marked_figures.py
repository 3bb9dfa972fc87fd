"""Which figures of a table stand out: the best that are resolved; of leakage the largest, as a warning."""

from __future__ import annotations

import dataclasses
import re

import pytest

from gecko_jax import reports
from gecko_jax.reports import Column, Notes, Row, Study, Tradeoff, front, read_record, write_record
from gecko_jax.types import Estimate


def cells(page):
    """row -> [(class, text)] of the table's cells."""
    by_row = {}
    for name, rest in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page[page.index('id="table"') :]):
        by_row[re.sub("<.*?>|★|&nbsp;", "", name)] = re.findall(r'<td(?: class="(\w+)")? title=.*?<b>(.*?)</b>', rest)
    return by_row


def unresolved_study(better):
    rows = (
        Row("few", {"x": Estimate(9.0 if better == "high" else 0.0), "y": Estimate(1.0)}, unresolved=("x",)),
        Row("many", {"x": Estimate(5.0), "y": Estimate(2.0)}),
        Row("third", {"x": Estimate(6.0), "y": Estimate(0.5)}),
    )
    columns = Column("x", "X", better=better), Column("y", "Y", better="low")
    return Study("t", "", rows, columns, (Tradeoff("x", "y"),))


@pytest.mark.parametrize("better", ["high", "low"])
def test_an_unresolved_figure_is_never_the_best(better, tmp_path):
    study = unresolved_study(better)
    page, text = reports.html(study), reports.table(study, 80)
    best = "third" if better == "high" else "many"
    assert [name for name, row in cells(page).items() if row[0][0] == "best"] == [best]
    assert "few" not in front(study)
    tile = re.search(r'<dl class="tiles">.*?</dl>', page, re.S).group()
    assert f'<dd class="muted">{best}, measured' in tile
    assert page.count(">†</abbr>") == 1 and "† more records are needed" in page
    assert re.search(r"few +[90]\.00 +†", text) and "† more records" in text
    result = write_record(tmp_path, dataclasses.replace(study, record={"config": {}, "seeds": [], "timings": {}}))
    assert read_record(tmp_path) == result and result.rows[0].unresolved == ("x",)
    with pytest.raises(ValueError, match="unresolved figure of row 'a'"):
        Study("t", "", (Row("a", {}, unresolved=("x",)),), (Column("x", "X"),))


def test_the_only_row_is_not_called_the_best():
    study = Study("t", "", (Row("one", {"x": Estimate(1.0)}),), (Column("x", "X", better="high"),))
    page = reports.html(study)
    assert cells(page) == {"one": [("", "1.00")]} and "<dt>X</dt>" in page and "underlined" not in page


def alarm_study(*figures):
    rows = tuple(Row(f"r{i}", {"x": figure}) for i, figure in enumerate(figures))
    return Study("t", "", rows, (Column("x", "AUC", alarm=0.5),))


def test_the_strongest_attack_is_a_warning_and_no_prize():
    page = reports.html(alarm_study(Estimate(0.7, 0.6, 0.8), Estimate(0.9, 0.8, 0.95), Estimate(0.6)))
    assert cells(page) == {"r0": [("", "0.70")], "r1": [("alarm", "0.90")], "r2": [("", "0.60")]}
    assert "↑" not in page and "↓" not in page and 'class="best"' not in page
    assert '<div class="alarm"><dt>Largest AUC</dt>' in page and "Bold and red" in page
    assert re.search(r"td\.alarm b \{ color: var\(--alarm\)", page)


@pytest.mark.parametrize(
    "figure", [Estimate(0.9, 0.45, 0.99), Estimate(0.9, kind="modeled"), Estimate(0.4, 0.3, 0.5), Estimate(0.5)]
)
def test_chance_and_bounds_are_no_alarm(figure):
    page = reports.html(alarm_study(figure))
    assert 'class="alarm"' not in page and "Bold and red" not in page


def test_an_alarm_and_a_better_end_contradict_each_other():
    with pytest.raises(ValueError, match=r"alarm=0.5 and better='high'"):
        Study("t", "", (Row("a", {}),), (Column("x", "X", better="high", alarm=0.5),))
    with pytest.raises(ValueError, match="alarm=nan"):
        Study("t", "", (Row("a", {}),), (Column("x", "X", alarm=float("nan")),))


def test_headline_and_footnotes_are_shown_and_kept(tmp_path):
    notes = Notes("<One> sentence.", footnotes=("A & B.",))
    study = dataclasses.replace(alarm_study(Estimate(0.5)), notes=notes)
    page, text = reports.html(study), reports.table(study, 80)
    assert page.index("&lt;One&gt; sentence.") < page.index('id="table"') < page.index("A &amp; B.")
    assert text.index("<One> sentence.") < text.index("AUC") < text.index("A & B.")
    written = write_record(tmp_path, dataclasses.replace(study, record={"config": 1, "seeds": 2, "timings": 3}))
    assert read_record(tmp_path) == written and written.notes.footnotes == ("A & B.",)


@pytest.mark.parametrize(
    "other, marks",
    [(Estimate(0.7, 0.61, 0.8), ["best", ""]), (Estimate(0.7, 0.6, 0.8), ["", ""]), (Estimate(0.55), ["", ""]),
     (Estimate(0.7), ["best", ""]), (Estimate(0.5), ["best", "best"])],
)  # fmt: skip
def test_a_best_figure_whose_interval_overlaps_another_is_not_underlined(other, marks):
    rows = Row("a", {"x": Estimate(0.5, 0.4, 0.6)}), Row("b", {"x": other})
    page = reports.html(Study("t", "", rows, (Column("x", "X", better="low"),)))
    assert [row[0][0] for row in cells(page).values()] == marks
    assert ("; 1 other row within the intervals</dd>" in page) == (marks == ["", ""])
