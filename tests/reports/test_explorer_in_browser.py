"""The explorer as a person uses it: clicks, keys, budgets and hovering in a headless Chromium."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from gecko_jax import reports
from gecko_jax.reports.explorer.data import explorer_data
from gecko_jax.reports.pareto import front_rows
from gecko_jax.reports.rows import Column, Row
from gecko_jax.reports.study import Study
from gecko_jax.types import Estimate

HOSTILE = "</script><img src=x onerror=alert(1)>"
CELLS = """[...document.querySelectorAll('#explorer-table td, #explorer-panel dd, code, #explorer svg text')]
  .filter(e => e.getClientRects().length).map(e => { const r = document.createRange(); r.selectNodeContents(e);
  const b = r.getBoundingClientRect(); return [b.left, b.right, e.textContent]; })"""


@pytest.fixture(scope="module")
def path(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(reports.explorer_html(study), encoding="utf-8")
    return path


def texts(tab, selector):
    """The texts of all elements that a selector finds."""
    return tab.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)")


def names(tab, selector):
    """The models of all points or buttons that a selector finds."""
    return tab.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.dataset.row)")


def test_a_person_chooses_axes_a_budget_and_a_model(tab, path, study):
    tab.open(path, 1280)
    assert set(names(tab, ".point.best")) == front_rows(study, ("test", "attack", "bytes"))
    tab.choose("#explorer-x", "auc")
    tab.choose("#explorer-y", "ece")
    tab.choose("#explorer-area", "")
    assert set(names(tab, ".point.best")) == front_rows(study, ("auc", "ece"))
    assert texts(tab, ".tradeoff .axis-title") == ["ECE, %, lower is better", "Attack AUC, lower is better"]

    tab.write("#explorer-limit-flash", "300000")
    tab.write("#explorer-limit-accuracy", "87")
    wanted = [row.name for row in study.rows if row.figures["bytes"].value <= 3e5 and row.figures["test"].value >= 87]
    assert sorted(names(tab, ".point:not(.out)")) == sorted(wanted) and 2 < len(wanted) < 5
    fitting = {each.row.name for each in reports.recommend(study, {"bytes": "300000B", "test": "87%"}).fitting}
    assert set(names(tab, "#explorer-table tr:not(.out) button[data-row]")) == fitting == set(wanted)
    assert texts(tab, "#explorer-status")[0].startswith(f"{len(wanted)} of 8 models fit the budgets; ")
    fitting_rows = tuple(row for row in study.rows if row.name in wanted)
    among = dataclasses.replace(study, rows=fitting_rows, exhibits=())
    assert set(names(tab, ".point.best")) == front_rows(among, ("auc", "ece")), "the front of those that fit"
    tab.click("#explorer-worst")  # 87.35 ± 0.34 still keeps to 87, 87.95 ± 0.34 too
    assert sorted(names(tab, ".point:not(.out)")) == sorted(wanted)
    tab.write("#explorer-limit-accuracy", "87.2")
    assert "Phase II homogeneous" not in names(tab, ".point:not(.out)")
    assert any("Test accuracy −0.19 points" in text for text in texts(tab, "td.verdict"))

    tab.click('.point[data-row="Phase II heterogeneous"]')
    assert texts(tab, "#explorer-panel h3") == ["Phase II heterogeneous"]
    assert texts(tab, "#explorer-command") == ["python -m experiments.invented --row=5"]
    assert texts(tab, "#explorer-panel .verdict") == ["Fits all budgets."]
    assert [text.split(" of ")[0] for text in texts(tab, ".exhibit h4")] == [
        "ROC curve",
        "Reliability",
        "Cost breakdown",
    ]
    figures = texts(tab, "#explorer-panel dd")
    assert len(figures) == len(study.rows[5].figures) and "87.95 % ± 0.34 m" in figures and "4.3 µJ  e" in figures
    tab.write("#explorer-limit-flash", "1000")
    assert "Stored bytes: BinaryConnect misses it least, by 202,000 B." in texts(tab, "#explorer-status")[0]
    tab.click("#explorer-reset")
    assert len(names(tab, ".point:not(.out)")) == 8 and texts(tab, "td.verdict") == []
    assert tab.errors == []


def test_a_view_can_be_sent_on_and_a_device_fills_both_budgets(tab, path, study):
    tab.open(path, 1280)
    tab.choose("#explorer-device", "1")  # 256 kB flash, 64 kB RAM
    fitting = {r.name for r in study.rows if r.figures["bytes"].value <= 256e3 and r.figures["peak"].value <= 64e3}
    assert set(names(tab, ".point:not(.out)")) == fitting and 0 < len(fitting) < 8
    address = tab.run("location.hash").replace("x=test", "x=auc")
    tab.open(path, 1280, address=address)
    assert set(names(tab, ".point:not(.out)")) == fitting
    assert tab.run("['x', 'area'].map(id => document.getElementById(`explorer-${id}`).value)") == ["auc", "bytes"]


def test_keys_reach_every_model(tab, path):
    tab.open(path, 1280)
    tab.run("document.querySelector('.point[tabindex=\"0\"]').focus()")
    tab.press("Escape", "ArrowRight")
    focused = tab.run("document.activeElement.dataset.row")
    assert not tab.run("document.getElementById('explorer-tip').hidden")
    place = "(s => document.querySelector(s).getBoundingClientRect().toJSON())"
    box, mark = (tab.run(f"{place}({selector!r})") for selector in ("#explorer-tip", ".point:focus .mark"))
    assert min(box["left"], box["top"]) > 0 and box["right"] <= 1280 and box["bottom"] <= 900
    assert 0 < min(abs(box["left"] - mark["right"]), abs(mark["left"] - box["right"])) < 20, "beside its point"
    assert focused in texts(tab, "#explorer-tip b") and len(texts(tab, "#explorer-tip dt")) >= 11
    tab.press("Enter")
    assert texts(tab, "#explorer-panel h3") == [focused] and tab.run("document.activeElement.dataset.row") == focused
    tab.run("document.querySelector('#explorer-table tbody button').focus()")
    tab.press("Tab", "Enter")
    second = names(tab, "#explorer-table tbody button")[1]
    assert texts(tab, "#explorer-panel h3") == [second] and tab.run("document.activeElement.dataset.row") == second


def test_a_column_is_sorted_and_another_one_shown(tab, path, study):
    tab.open(path, 1280)
    tab.hover('.point[data-row="Full precision"]')
    assert "4,799,528 B" in " ".join(texts(tab, "#explorer-tip dd"))
    tab.click('[data-focus="sort attack"]')
    order = sorted(study.rows, key=lambda row: row.figures["attack"].value)
    assert names(tab, "#explorer-table tbody button") == [row.name for row in order]
    tab.click('[data-focus="sort attack"]')
    assert names(tab, "#explorer-table tbody button") == [row.name for row in reversed(order)]
    tab.click(".chooser summary")
    tab.click('.chooser input[value="macs"]')
    assert "MACs" in texts(tab, "#explorer-table thead button")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_number_is_cut(tab, path, study, width):
    tab.open(path, width)
    assert tab.run("[document.documentElement.scrollWidth, window.innerWidth]") == [width, width]
    boxes = tab.run(CELLS)
    assert len(boxes) > 60
    assert not [box for box in boxes if box[0] < 0 or box[1] > width + 0.5]
    assert tab.run("document.querySelector('#explorer .scroll').scrollWidth") <= width
    cards = tab.run("getComputedStyle(document.querySelector('#explorer-table tbody tr')).display") == "block"
    assert cards == (width == 390)
    assert tab.run("performance.getEntriesByType('resource').length") == 0


def test_dark_and_light_have_contrast(tab, path):
    for dark in (False, True):
        tab.open(path, 390, dark=dark)
        tones = tab.run(
            "['body', '#explorer-panel', '#explorer-x'].map(s => getComputedStyle(document.querySelector(s))).map(e =>"
            "[e.color, e.backgroundColor].map(c => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)))"
        )
        assert all((ink - ground) * (1 if dark else -1) > 350 for ink, ground in tones)


def test_text_is_never_markup(tab, study, tmp_path):
    row = study.rows[0]
    figures = {key: figure for key, figure in row.figures.items() if key in ("test", "attack", "bytes")}
    rows = (Row(HOSTILE, figures, HOSTILE, HOSTILE, command=HOSTILE), row._replace(group=""))
    hostile = reports.Study(HOSTILE, HOSTILE, rows, study.columns, record={"command": HOSTILE})
    path = tmp_path / "hostile.html"
    path.write_text(reports.explorer_html(hostile), encoding="utf-8")
    tab.open(path, 1280)
    tab.click("#explorer-table tbody tr button")
    assert tab.run("document.querySelectorAll('img').length") == 0 and texts(tab, "#explorer-command") == [HOSTILE]


def test_figures_without_a_finite_number_are_listed_and_not_drawn(tab, tmp_path):
    values = {"finite": 0.6, "absent": None, "nan": float("nan"), "infinite": float("inf"), "few": 0.51}
    rows = tuple(
        Row(
            name,
            {"test": Estimate(80.0, unit="%"), **({} if v is None else {"auc": Estimate(v)})},
            unresolved=unresolved,
        )
        for (name, v), unresolved in zip(values.items(), [(), (), (), (), ("auc",)], strict=True)
    )
    columns = (reports.Column("test", "Test", "%", 1, "high"), reports.Column("auc", "AUC", "", 3, "low"))
    path = tmp_path / "figures.html"
    path.write_text(reports.explorer_html(reports.Study("t", "", rows, columns)), encoding="utf-8")
    tab.open(path, 1280)
    assert sorted(names(tab, ".point")) == ["few", "finite"] and names(tab, ".point.best") == ["finite"]
    assert "Not drawn, because a figure is missing: absent, nan, infinite." in texts(tab, "#explorer-plot-note")[0]
    tab.write("#explorer-limit-leak", "0.7")
    verdicts = dict(zip(names(tab, "tbody button"), texts(tab, "td.verdict"), strict=True))
    verdicts = {name: text.removeprefix("Budgets") for name, text in verdicts.items()}
    unknown = dict.fromkeys(("absent", "nan", "few"), "AUC: no figure")
    assert verdicts == {"finite": "fits", "infinite": "AUC +∞", **unknown} and tab.errors == []


def test_a_thinned_curve_is_the_same_steps():
    random = np.random.default_rng(4)
    x = np.unique(np.round(np.geomspace(1e-3, 1, 150), 6))
    y = np.sort(random.integers(0, 40, len(x)) / 40)
    rocs = reports.RocCurves("ROC", (reports.Curve("a, LiRA", x.tolist(), y.tolist()),))
    study = reports.Study("t", "", (Row("a", {"auc": Estimate(0.5)}),), (reports.Column("auc", "AUC"),), (rocs,))
    (curve,) = explorer_data(study)["curves"]["a"]
    assert curve["name"] == "LiRA" and len(curve["x"]) < 60 and curve["x"][-1] == 1
    steps = np.array(curve["y"])[np.searchsorted(curve["x"], [float(f"{each:.4g}") for each in x], "right") - 1]
    np.testing.assert_allclose(steps, y, rtol=1e-3)


def test_a_wide_report_shows_the_explorer_and_folds_its_table(study):
    extra = tuple(reports.Column(f"more_{i}", f"More {i}") for i in range(3))
    wide = reports.Study("Wide", "", study.rows, study.columns + extra)
    page = reports.html(wide)
    fold = page.index("<summary>All figures in one table</summary>")
    assert (
        page.index('id="explorer"') < fold < page.index('<table id="table"') and page.count("script-src 'sha256-") == 1
    )
    assert 'id="explorer"' not in reports.html(reports.Study("Narrow", "", study.rows, study.columns))


def test_a_word_of_the_command_stays_on_one_line(tab, study, tmp_path):
    """A browser would break "--models=3" behind its dashes; a word longer than the line breaks at the line's end."""
    flags = "--methods=full --hidden=128,128,128 --channels=16,32 --data_dir=none --models=3 --epochs=30 --seed=0"
    command = f"python -m experiments.gecko.run  {flags} --output={'x' * 300}"  # two spaces, as a quoted value may have
    path = tmp_path / "page.html"
    rows = (study.rows[0]._replace(command=command),)
    path.write_text(reports.explorer_html(dataclasses.replace(study, rows=rows, exhibits=())), encoding="utf-8")
    for width in (390, 1280):
        tab.open(path, width)
        lines = tab.run("""[...document.querySelectorAll('#explorer-command .word')].map(e => [e.textContent,
          Math.round(e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight || 20))])""")
        assert " ".join(word for word, _ in lines) == command == texts(tab, "#explorer-command")[0]
        assert {count for word, count in lines[:-1] if word} == {1} and lines[-1][1] > 1
        assert tab.run("document.documentElement.scrollWidth") == width
        selected = "getSelection().selectAllChildren(document.getElementById('explorer-command'))"
        assert tab.run(f"{selected}; getSelection().toString()") == command


def test_a_budget_goes_with_its_unit_and_a_device_needs_bytes(tab, tmp_path):
    """Another column's unit converts a limit of bytes and empties any other; sizes without a unit have no device."""
    columns = [Column("bytes", "Deployed", "kB"), Column("file", "Packed", "B"), Column("peak", "Peak", "B")]
    columns += [Column("attack", "Attack", "%", 1, "low"), Column("auc", "AUC", "", 3, "low")]
    values = {"bytes": 60.0, "file": 90e3, "peak": 1e3, "attack": 55.0, "auc": 0.6}
    figures = {column.key: Estimate(values[column.key], unit=column.unit) for column in columns}
    path = tmp_path / "page.html"
    path.write_text(reports.explorer_html(Study("t", "", (Row("a", figures),), tuple(columns))), encoding="utf-8")
    tab.open(path, 1280)
    tab.choose("#explorer-device", "0")  # 64 kB flash
    assert texts(tab, "#explorer-status")[0].startswith("1 of 1 model fits")
    tab.choose("#explorer-column-flash", "file")
    assert tab.run("document.getElementById('explorer-limit-flash').value") == "64000"
    assert texts(tab, "#explorer-status")[0].startswith("None of 1 model fits")
    tab.choose("#explorer-column-flash", "bytes")
    tab.write("#explorer-limit-leak", "0.55")
    tab.choose("#explorer-column-leak", {"attack": "auc", "auc": "attack"}[tab.run(
        "document.getElementById('explorer-column-leak').value")])  # fmt: skip
    assert tab.run("document.getElementById('explorer-limit-leak').value") == ""

    bare = {key: figure._replace(unit="") for key, figure in figures.items()}
    unitless = tuple(column._replace(unit="") for column in columns)
    path.write_text(reports.explorer_html(Study("t", "", (Row("a", bare),), unitless)), encoding="utf-8")
    tab.open(path, 1280)
    assert not tab.run("document.getElementById('explorer-device')")


def test_a_limit_at_which_no_model_can_be_is_left_out_and_said(tab, tmp_path):
    columns = (Column("test", "Test", "%", 1, "high"), Column("auc", "AUC", "", 3, "low"), Column("file", "File", "B"))
    figures = {"test": Estimate(80.0, unit="%"), "auc": Estimate(0.6), "file": Estimate(10.0, unit="B")}
    sizes = reports.CostBreakdowns("Parts", (
        reports.Breakdown("a", "Nothing", "B", "counted", ("codes", "raw"), (0, 0)),
        reports.Breakdown("a", "Some", "B", "counted", ("codes", "raw"), (1, 3)),
    ))  # fmt: skip
    path = tmp_path / "limits.html"
    path.write_text(reports.explorer_html(reports.Study("t", "", (Row("a", figures),), columns, (sizes,))))
    for number, (role, text, message) in enumerate([
        ("leak", "1.5", "The limit 1.5 of AUC is left out: give 0 to 1, a rate."),
        ("leak", "-0.1", "The limit -0.1 of AUC is left out"),
        ("accuracy", "101", "The limit 101 % of Test is left out: give 0 to 100 %, a rate."),
        ("flash", "-1", "The limit -1 B of File is left out: give at least 0."),
    ]):  # fmt: skip
        tab.open(path, 1280, address=f"#{role}={text}" if number == 0 else "")
        if number:
            tab.write(f"#explorer-limit-{role}", text)
        assert texts(tab, "#explorer-status")[0].startswith(message)
        assert tab.run(f"document.getElementById('explorer-limit-{role}').getAttribute('aria-invalid')") == "true"
        assert texts(tab, "td.verdict") == [] and names(tab, ".point:not(.out)") == ["a"]
        tab.write(f"#explorer-limit-{role}", "0.5")
        assert "left out" not in texts(tab, "#explorer-status")[0] and len(texts(tab, "td.verdict")) == 1
        assert tab.run("document.querySelectorAll('[aria-invalid=true]').length") == 0
    tab.click("#explorer-table tbody button")
    assert tab.run("[...document.querySelectorAll('.fill')].map(e => e.style.width)") == ["0%", "0%", "25%", "75%"]
    assert tab.errors == []
