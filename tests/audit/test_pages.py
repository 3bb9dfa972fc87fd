"""A report's page and its table file hold the report's own figures."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from gecko_jax import audit


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
        for name, figures in report.rows.items():
            assert name.replace("_", " ") in page and f"{figures['auc'].value:.3f}" in page
        assert 'id="plot-roc"' in page and 'id="plot-histograms"' in page
    assert "4 models, each a target in turn" in several and "One model: " in one
    # What needs no model stands before the attacks, and the warning before both.
    assert 0 < one.index("can be told apart without the model") < one.index("by the records</th>") < one.index(">loss<")
