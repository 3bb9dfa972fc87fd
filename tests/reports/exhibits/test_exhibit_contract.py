"""What every listed kind of exhibit promises; and that adding one takes its noun and a line in the table."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from example_study import of_kind

from gecko_jax import reports
from gecko_jax.reports import exhibits
from gecko_jax.reports.exhibits import EXHIBITS, Drawing, kind_of
from gecko_jax.types import Estimate

RECORD = {"config": {}, "seeds": [0], "timings": {}}


@pytest.mark.parametrize("kind", EXHIBITS)
def test_a_listed_kind_keeps_the_contract(study, tmp_path, kind):
    noun = EXHIBITS[kind]
    exhibit = next(e for e in study.exhibits if type(e) is noun)
    assert kind_of(exhibit) == kind and issubclass(noun, tuple) and noun.__doc__ and exhibit.name
    one, two = (exhibit.draw(study, prefix) for prefix in ("one", "two"))
    assert isinstance(one, Drawing) and one.heading and "http" not in one.body.replace("http://www.w3.org/2000/svg", "")
    assert one == exhibit.draw(study, "one"), "the same drawing for the same data"
    ids = [set(re.findall(r'\bid="([^"]+)"', drawing.body + drawing.below)) for drawing in (one, two)]
    assert not ids[0] & ids[1] and all(name.startswith("one-") for name in ids[0])
    alone = dataclasses.replace(study, exhibits=(exhibit,), record=RECORD)
    written = reports.write_record(tmp_path, alone, {"report.html": reports.html})
    assert reports.read_record(tmp_path, complete=True) == written
    again = written.exhibits[0].draw(written, "one")
    assert again == one, "what is read back draws the same"
    assert reports.html(written).count(f'<section id="{kind.replace("_", "-")}-0">') == 1
    with pytest.raises(ValueError, match=f"exhibits of the kind '{kind}' hold"):
        dataclasses.replace(study, exhibits=(exhibit, exhibit))


def test_every_kind_is_in_the_example(study):
    assert all(of_kind(study, noun) for noun in EXHIBITS.values())


class Span(NamedTuple):
    """A new kind: where an interval lies, in words."""

    name: str
    figures: Sequence[Estimate]
    marks: Sequence[float] | None = None

    def check(self, table):
        if not self.figures:
            raise ValueError(f"{self.name!r} has no figures")

    def draw(self, table, prefix):
        lines = "".join(f"<p>{figure.low:g} to {figure.high:g}</p>" for figure in self.figures)
        return Drawing(self.name, f'<div id="{prefix}-span">{lines}</div>', f"Beside {len(table.rows)} rows.")


def test_a_new_kind_takes_one_line(study, tmp_path, monkeypatch):
    new = Span("A span", (Estimate(0.5, 0.25, float("inf")),), (1, 2.5))
    with pytest.raises(TypeError, match=r"exhibit Span\(.* is a Span; expected one of Tradeoff, RocCurves"):
        dataclasses.replace(study, exhibits=(new,))
    monkeypatch.setitem(exhibits.EXHIBITS, "span", Span)  # the line
    other = new._replace(name="Another")
    wide = dataclasses.replace(study, exhibits=(study.exhibits[0], new, other), record=RECORD)
    written = reports.write_record(tmp_path, wide, {"report.html": reports.html})
    assert reports.read_record(tmp_path) == written and written.exhibits[1:] == (new, other)
    assert type(written.exhibits[1]) is Span and type(written.exhibits[1].figures[0]) is Estimate
    page = (tmp_path / "report.html").read_text()
    assert '<section id="span-0"><h3>A span</h3>' in page and 'id="span-1-span"' in page and "0.25 to inf" in page
    assert f"Beside {len(study.rows)} rows.</figcaption>" in page
    assert reports.table(written).startswith(study.title)
    with pytest.raises(ValueError, match="'A span' has no figures"):
        dataclasses.replace(study, exhibits=(new._replace(figures=()),))
