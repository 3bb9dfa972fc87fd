from __future__ import annotations

import dataclasses
import re

import pytest

from gecko_jax.reports import Column, Row, Study, front, table
from gecko_jax.reports.text import number
from gecko_jax.types import Estimate


@pytest.mark.parametrize("width", [60, 80, 100, 120, 140])
def test_every_figure_stands_within_the_width(study, width):
    text = table(study, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)
    for row in study.rows:
        lines_of_row = " ".join(line for line in lines if row.name in line)
        for column in study.columns:
            if column.key in row.figures:
                figure = row.figures[column.key]
                spelt = f"{figure.value:,.{column.digits}f}"
                if figure.low is not None:
                    spelt += f" ± {(figure.high - figure.low) / 2:.{column.digits}f}"
                assert re.search(rf"(?<![\d.]){re.escape(spelt)}(?![\d.])", lines_of_row), (row.name, column.key)
        for value in (row.published or {}).values():
            assert f"[{value:.2f}]" in lines_of_row


def test_columns_are_aligned(study):
    lines = table(study, 140).splitlines()
    rows = [next(line for line in lines if line[2:].startswith(row.name)) for row in study.rows]
    signs = [[match.start() for match in re.finditer("±", line)] for line in rows]
    assert all(places == signs[0] for places in signs)
    assert len(signs[0]) == 7
    assert len({line.index(",", 100) for line in rows if "4,799,528" in line}) == 1


def test_front_kinds_and_notes_are_marked(study):
    text = table(study, 120)
    for row in study.rows:
        assert (f"\n* {row.name}" in text) == (row.name in front(study))
    assert re.search(r"^\(m\) measured.*\n\(c\) counted.*\n\(e\) modeled", text, re.M)
    assert "% (m)" in text and "B (c)" in text and "µJ (e)" in text
    assert "\n* DP, ε = 8 (1)" in text and "\n(1) DP, ε = 8: accounted at δ = 1e-5" in text
    assert text.count("\nGecko\n") == text.count("\n---")  # the group's heading in every block
    assert "! These figures are invented," in text


def test_mixed_kinds_are_marked_figure_by_figure():
    rows = (Row("a", {"x": Estimate(1.0)}), Row("b", {"x": Estimate(2.0, kind="counted")}), Row("c", {}))
    text = table(Study("t", "", rows, (Column("x", "X", digits=1),)), 80)
    assert re.search(r"^  a +1\.0 m$", text, re.M)
    assert re.search(r"^  b +2\.0 c$", text, re.M)
    assert re.search(r"^  c +–$", text, re.M)
    assert "*" not in text


def test_long_names_wrap_and_nothing_is_lost(study):
    name = "a name that is rather longer than half of a narrow terminal allows it to be"
    rows = (study.rows[0]._replace(name=name), *study.rows[1:])
    text = table(dataclasses.replace(study, rows=rows), 60)
    assert max(map(len, text.splitlines())) <= 60
    words = name.split()
    assert all(word in text for word in words)


def test_width_comes_from_the_terminal_and_has_an_end(study, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert table(study) == table(study, 70)
    with pytest.raises(ValueError, match="width=10 must be at least 40"):
        table(study, 10)


def test_numbers():
    assert number(1234567.891, 1) == "1,234,567.9"
    assert number(0.0, 2) == "0.00"
    assert number(-0.0004, 2) == "-4e-04"
    assert number(float("nan"), 2) == "nan"
