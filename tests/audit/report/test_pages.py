"""A report's page and its table file hold the report's own figures."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import numpy as np
import pytest

from gecko_jax import audit
from gecko_jax.audit.report import figures, most_exposed, slices
from gecko_jax.audit.report import page as report_page
from gecko_jax.reports import DotPlot, Histograms, ImageGrid, RocCurves, TextTable, read_record, write_record
from gecko_jax.types import Estimate


def of_kind(study, noun):
    return [exhibit for exhibit in study.exhibits if isinstance(exhibit, noun)]


def outputs(seed=0, models=4, n=300):
    rng = np.random.default_rng(seed)
    member, y = rng.random((models, n)) < 0.5, rng.integers(0, 3, n)
    logits = rng.normal(size=(models, n, 3)) + (1.0 + member)[..., None] * np.eye(3)[y]
    return logits, y, member


@pytest.fixture(name="reports", scope="module")
def make_reports():
    logits, y, member = outputs()
    x = np.random.default_rng(1).normal(size=(300, 2)) + member[0][:, None]
    return audit.audit_models(logits, y, member), audit.audit_model(logits[0], y, member[0], x=x)


def test_the_table_file_holds_every_figure(reports):
    for report in reports:
        lines = list(csv.DictReader(io.StringIO(report.to_csv())))
        targets = len(report.targets) if len(report.targets) > 1 else 0
        sliced = [line for line in lines if " on slice: " in line["attack"]]  # see test_slices
        assert len(sliced) == len(report.slices) * 8
        lines = [line for line in lines if line not in sliced]
        assert len(lines) == len(report.rows) * 8 * (1 + targets) + len(report.baselines)
        for line in lines:
            if line["attack"].startswith("without"):
                estimate = report.baselines[line["attack"].partition(": ")[2]]
            else:
                rows = report.rows if line["target"] == "all" else report.targets[int(line["target"])]
                estimate = rows[line["attack"]][line["metric"]]
            assert float(line["value"]) == estimate.value
            assert line["low"] == ("" if estimate.low is None else str(estimate.low))


def test_the_page_shows_warnings_baselines_figures_and_curves(reports, tmp_path):
    several, one = (report.html(tmp_path / f"{i}.html").read_text() for i, report in enumerate(reports))
    for page, report in zip((several, one), reports, strict=True):
        for name, row in report.rows.items():
            assert name.replace("_", " ") in page and f"{row['auc'].value:.3f}" in page
        assert 'id="roc-curves-0"' in page and 'id="histograms-0"' in page
    assert "4 models, each a target in turn" in several and "One model: " in one
    # What needs no model stands before the attacks, and the warning before both.
    assert 0 < one.index("can be told apart without the model") < one.index("by the records</th>") < one.index(">loss<")


def estimate(auc, nonmembers):
    figure = Estimate(auc, auc - 0.05, auc + 0.05)
    smallest = Estimate(1 / nonmembers, kind="counted", n=nonmembers)
    return {name: figure for name in figures.METRICS} | {"smallest_fpr": smallest}


@pytest.fixture(name="full", scope="module")
def make_full(reports):
    """A report with every part, of records that are pictures."""
    rng = np.random.default_rng(2)
    scores, member = rng.normal(size=300) + 100.0, outputs()[2][0]
    scores[:3] = np.inf, -np.inf, 1e9
    actual = {f"class {i}": estimate(0.5 + i / 100, 150 if i % 2 else 60) for i in range(25)}
    histogram = figures.score_histogram([scores], member[None])
    names = ("entropy", "loss", "rmia", "lira", "gap")
    picked = most_exposed.most_exposed(
        scores, member, 6, attack="rmia", y=np.arange(300) % 3, id=np.arange(300) + 5000, x=rng.random((300, 4, 4, 1))
    )
    return dataclasses.replace(
        reports[1],
        slices=actual,
        sliced_by="rmia",
        score_histograms=dict.fromkeys(names, histogram),
        most_exposed=picked,
    )


def test_slices_are_drawn_worst_first_and_only_where_they_are_resolved(full):
    auc, tpr = of_kind(report_page.study(full), DotPlot)
    assert auc.labels == tuple(f"class {i}" for i in range(24, -1, -1)) and auc.reference == 0.5
    assert [figure.value for figure in auc.figures] == [full.slices[name]["auc"].value for name in auc.labels]
    assert tpr.labels == tuple(f"class {i}" for i in range(23, 0, -2)) and "Left out: 13 with fewer" in tpr.note
    assert [figure.value for figure in tpr.figures] == [100 * full.slices[n]["tpr_at_1pct"].value for n in tpr.labels]
    few = {name: estimate(0.6, 60) for name in full.slices}
    assert len(of_kind(report_page.study(dataclasses.replace(full, slices=few)), DotPlot)) == 1


def test_scores_are_drawn_of_the_strongest_three_by_reputation(full):
    (exhibit,) = of_kind(report_page.study(full), Histograms)
    drawn = exhibit.histograms
    assert exhibit.groups == ("members", "non-members")
    assert [h.name for h in drawn] == ["Largest probability", "lira score", "rmia score", "loss score"]
    clipped = full.score_histograms["loss"].clipped
    assert clipped >= 3 and drawn[1].note == f"{clipped} records beyond the ends are counted in the outermost bins."
    assert sum(map(sum, drawn[1].counts)) == 300 and drawn[0].note == ""


def test_exposed_records_are_shown_as_pictures_or_else_listed(full, reports):
    study = report_page.study(full, pictures=True)
    (grid,) = of_kind(study, ImageGrid)
    assert not of_kind(study, TextTable) and len(grid.images) == 6 and "training records" in grid.note
    first = full.most_exposed
    assert grid.captions[0].split("\n")[0] == f"class {first.label[0]}" and f"id {first.id[0]}" in grid.captions[0]
    share = 100 * np.mean(np.asarray(first.fpr)[-1])
    assert f"FPR {share:.2g} %" in grid.captions[-1] if share else "FPR < " in grid.captions[-1]
    listed = report_page.study(dataclasses.replace(full, most_exposed=first._replace(x=np.zeros((6, 5)), id=None)))
    (listing,) = of_kind(listed, TextTable)
    assert not of_kind(listed, ImageGrid) and listing.headings == ("class", "score", "FPR", "row")
    assert [line[3] for line in listing.lines] == [str(row) for row in first.rows]
    several = dataclasses.replace(reports[0], most_exposed=first._replace(x=None, targets=np.arange(1, 7)))
    (listing,) = of_kind(report_page.study(several), TextTable)
    assert [line[3] for line in listing.lines] == list("123456") and "over the targets" in listing.note


def test_the_whole_page_is_in_order_and_its_record_can_be_kept(full, tmp_path):
    page = full.html(tmp_path / "page.html", pictures=True).read_text()
    marks = ['id="table"', 'id="roc-curves-0"', 'id="dot-plot-0"', 'id="dot-plot-1"', 'id="histograms-0"']
    places = [page.index(mark) for mark in (*marks, 'id="image-grid-0"', 'id="record"')]
    assert places == sorted(places)
    assert len(re.findall("<img ", page)) == 6
    study = report_page.study(full)
    record = {"config": {}, "seeds": [0], "timings": {}, **study.record}
    written = write_record(tmp_path, dataclasses.replace(study, record=record))
    assert read_record(tmp_path) == written
    assert of_kind(written, DotPlot)[0].figures == of_kind(study, DotPlot)[0].figures


def test_without_the_new_parts_the_page_has_none_of_them(reports):
    bare = dataclasses.replace(reports[1], slices={}, score_histograms={}, most_exposed=None)
    study = report_page.study(bare)
    assert [type(exhibit) for exhibit in study.exhibits] == [RocCurves, Histograms]
    assert len(study.exhibits[1].histograms) == 1


def test_the_slices_of_an_audit_are_those_of_its_scores(reports):
    logits, y, member = outputs()
    loss = -np.array([np.logaddexp.reduce(row) - row[label] for row, label in zip(logits[0], y, strict=True)])
    actual = slices.of_groups(loss, member[0], 0.0, slices.by_class(y) | {"all": np.ones(300, bool)}).figures
    np.testing.assert_allclose(actual["all"]["auc"].value, reports[1].rows["loss"]["auc"].value)
    assert actual["all"]["tpr_at_1pct"] == reports[1].rows["loss"]["tpr_at_1pct"]


def test_warnings_and_notes_are_sentences_where_they_are_made(reports):
    sentences = [sentence for report in reports for sentence in (*report.warnings, *report.notes)]
    assert sentences and all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
    for report in reports:
        study = report_page.study(report)
        assert study.notes.warnings[: len(report.warnings)] == tuple(report.warnings)
        assert f"Warning: {report.warnings[0]}\n" in report.table()
