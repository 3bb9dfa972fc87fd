from __future__ import annotations

import dataclasses
import html.parser
import re

from example_study import of_kind, without

from gecko_jax import reports
from gecko_jax.reports import (
    Column,
    Curve,
    DotPlot,
    Histogram,
    Histograms,
    ImageGrid,
    Notes,
    ReliabilityDiagrams,
    RocCurves,
    Row,
    Study,
    TextTable,
    Tradeoff,
    TrainingCurves,
    read_record,
    write_html,
    write_record,
)
from gecko_jax.reports.exhibits import EXHIBITS
from gecko_jax.types import Estimate


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and notices a tag that is closed out of turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_asks_for_nothing(page):
    parsed = Page(page)
    names = [value for key, value in parsed.attributes if key == "id"]
    assert len(names) == len(set(names))
    kinds = {f"{kind.replace('_', '-')}-0" for kind in EXHIBITS}
    assert kinds | {"dot-plot-1", "table", "record"} <= set(names)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    markup = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]*"', "", re.sub(r"<title>.*?</title>", "", page))
    assert not re.search(r"(?i)https?:|//\w|@import|url\((?!#)|data:(?!;)|src=", markup)
    assert all(value.startswith("#") for key, value in parsed.attributes if key in ("href", "xlink:href"))
    assert "img-src data:" in page
    assert dict(parsed.attributes)["lang"] == "en" and "width=device-width" in page
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page and "tabular-nums" in page


def test_notes_come_first_then_figures_then_plots_then_the_record(page):
    places = [
        page.index(mark)
        for mark in (
            'class="notes"',
            'class="tiles"',
            'id="table"',
            'id="tradeoff-0"',
            'id="roc-curves-0"',
            'id="dot-plot-0"',
            'id="histograms-0"',
            'id="image-grid-0"',
            'id="text-table-0"',
            'id="record"',
        )
    ]
    assert places == sorted(places)


def test_every_figure_stands_in_the_table_with_its_kind(study, page):
    table = page[page.index('<table id="table"') : page.index("</table>")]
    lines = {re.sub("<.*?>", "", line): line for line in table.splitlines()}
    for row in study.rows:
        line = next(line for text, line in lines.items() if row.name in text)
        cells = re.findall(r"<td.*?</td>", line)
        assert len(cells) == len(study.columns)
        for column, cell in zip(study.columns, cells, strict=True):
            if (figure := row.figures.get(column.key)) is None:
                assert "–" in cell and 'title="no figure' in cell
                continue
            assert f"<b>{figure.value:,.{column.digits}f}</b>" in cell
            assert f'title="{figure.kind}: ' in cell
            if figure.low is not None:
                assert f"± {(figure.high - figure.low) / 2:.{column.digits}f}" in cell and "n = 5" in cell
        if row.published:
            assert f"[{row.published['attack']:.2f}]" in line


HOSTILE = "<script>alert('1')</script>\"&'<img src=x onerror=y>"


def test_all_text_is_escaped():
    study = Study(
        title=HOSTILE,
        summary=HOSTILE,
        rows=(Row(HOSTILE, {"a": Estimate(1.0, unit=HOSTILE)}, HOSTILE, HOSTILE), Row("b", {})),
        columns=(Column("a", HOSTILE, HOSTILE, 2, "high"), Column("b", "B", "", 1, "low")),
        exhibits=(
            Tradeoff("a", "a", "a"),
            RocCurves(HOSTILE, (Curve(HOSTILE, [0.1, 1], [0.2, 1]),), Curve(HOSTILE, [1], [1]), note=HOSTILE),
            Histograms(HOSTILE, (HOSTILE, "b"), (Histogram(HOSTILE, [0, 1], ([1], [1]), HOSTILE),), HOSTILE, HOSTILE),
            DotPlot(HOSTILE, [HOSTILE], [Estimate(1.0, unit=HOSTILE)], HOSTILE, note=HOSTILE),
            ImageGrid(HOSTILE, ['data:image/png;base64,"><script>'], [HOSTILE], HOSTILE),
            TextTable(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE),
            TrainingCurves(HOSTILE, (Curve(HOSTILE, [0, 1], [1, 0]),), HOSTILE, HOSTILE),
        ),
        record={HOSTILE: {"key": HOSTILE}, "text": HOSTILE},
        notes=Notes(HOSTILE, (HOSTILE,), (HOSTILE,)),
    )
    text = reports.html(study)
    parsed = Page(text)
    assert "script" not in parsed.tags and parsed.tags.count("img") == 1
    assert not any(key.startswith("on") for key, _ in parsed.attributes)
    assert "".join(parsed.text).count("<script>alert('1')</script>") >= 8


def test_a_study_of_one_figure_makes_a_page_without_plots():
    text = reports.html(Study("t", "", (Row("a", {"x": Estimate(1.0)}),), (Column("x", "X"),)))
    parsed = Page(text)
    assert not {"svg", "img", "section"} & set(parsed.tags) and "Plots" not in parsed.text
    assert not any(value == "record" for key, value in parsed.attributes if key == "id")


def test_mixed_kinds_are_marked_in_their_cells():
    rows = (Row("a", {"x": Estimate(1.0)}), Row("b", {"x": Estimate(2.0, kind="modeled")}))
    text = reports.html(Study("t", "", rows, (Column("x", "X", better="high"),)))
    assert '<b>1.00</b> <abbr title="measured">m</abbr>' in text
    assert '<td class="best" title="modeled: 2"><b>2.00</b> <abbr title="modeled">e</abbr>' in text


def test_a_page_can_be_made_from_the_record_alone(tmp_path, study):
    slow = (Histograms, ReliabilityDiagrams, TrainingCurves)
    written = write_record(tmp_path, without(study, slow))
    path = write_html(tmp_path / "report.html", written)
    assert path.read_text() == reports.html(read_record(tmp_path))


def test_rows_that_the_plot_leaves_out_are_named(study):
    rows = (*study.rows[:1], study.rows[1]._replace(figures={}))
    text = reports.html(dataclasses.replace(study, rows=rows, exhibits=study.exhibits[:1]))
    assert "Not shown, because a figure is missing: BinaryConnect." in text
    assert "roc-curves" not in text


def test_figures_that_are_drawn_stand_in_a_table_too(study, page):
    for i, chart in enumerate(of_kind(study, DotPlot)):
        section = page[page.index(f'<section id="dot-plot-{i}"') :]
        section = section[: section.index("</section>")]
        lines = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', section)
        assert [line[0] for line in lines] == list(chart.labels)
        for (_, value, ends), figure in zip(lines, chart.figures, strict=True):
            assert (value, ends) == (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
        assert ("The first 20 are drawn; the table has 3 more." in section) == (len(chart.labels) == 23)
        assert "Worst first." in section


def test_images_have_their_captions_and_lists_their_cells(page):
    section = page[page.index('<section id="image-grid-0"') : page.index('<section id="text-table-0"')]
    for i in range(7):
        assert f"<span>class {i}</span><span>score -0.000{i}</span>" in section
        assert f'alt="class {i}, score -0.000{i}"' in section
    assert '<tr><th scope="row">0</th><td>12.5</td></tr>' in page and "Two of them." in page


def test_notes_that_histograms_share_are_said_once(study):
    (histograms,) = of_kind(study, Histograms)
    first, second, third, *_ = histograms.histograms
    noted = (first._replace(note="Cut."), second._replace(note="Whole."), third._replace(note="Cut."))
    text = reports.html(dataclasses.replace(study, exhibits=(histograms._replace(histograms=noted),)))
    assert f"{first.name}, {third.name}: Cut. {second.name}: Whole.</figcaption>" in text
