"""Two audits on one page: every figure of both, and what cancels between two audits of the same targets."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.audit.report.side_by_side import study
from gecko_jax.reports import DotPlot, RocCurves

M, N = 4, 200
RNG = np.random.default_rng(0)
Y, MEMBER, LOGITS = RNG.integers(0, 3, N), RNG.random((M, N)) < 0.5, RNG.normal(size=(M, N, 3))
LEAKING = LOGITS + 2 * MEMBER[..., None] * np.eye(3)[Y]


def audited(logits, y=Y):
    return audit.audit_models(logits, y, MEMBER, [attacks.lira(), attacks.loss()])


@pytest.fixture(scope="module")
def audits():
    return {"before": audited(LEAKING), "with noise": audited(LOGITS)}


def test_the_rows_of_an_attack_stand_next_to_each_other(audits):
    page = study(audits, "Two")
    names = [row.name for row in page.rows if row.group == "Attacks"]
    assert names == ["lira: before", "lira: with noise", "loss: before", "loss: with noise"]
    figures = {row.name: row.figures for row in page.rows}
    for attack in ("lira", "loss"):
        for name, report in audits.items():
            assert figures[f"{attack}: {name}"]["auc"] == report.rows[attack]["auc"]
    assert f"Before: {audits['before'].headline}" in page.notes.headline
    (shared,) = [each for each in page.exhibits if isinstance(each, RocCurves) and "side by side" in each.name]
    assert [curve.name for curve in shared.curves] == names


def test_paired_differences_are_shown_of_the_same_targets_alone(audits):
    def plots(audits):
        return [each for each in study(audits, "Two").exhibits if isinstance(each, DotPlot) and "minus" in each.name]

    auc, tpr = plots(audits)
    wanted = audit.differences(audits["with noise"], audits["before"])
    assert auc.name == "AUC: with noise minus before" and auc.labels == ("lira", "loss") and auc.reference == 0
    assert auc.figures == tuple(wanted[attack]["auc"] for attack in ("lira", "loss"))
    assert tpr.figures[1].value == 100 * wanted["loss"]["tpr_at_1pct"].value and tpr.unit == "%"
    assert not plots(audits | {"with noise": audited(LOGITS, (Y + 1) % 3)})


def test_the_page_is_written(audits, tmp_path):
    text = audit.page(tmp_path / "page.html", audits, "Before and after").read_text()
    assert "Before and after" in text and "lira: with noise" in text


@pytest.mark.parametrize("wrong", [{}, {"one": None}, ["a", "b"]])
def test_what_is_not_two_audits_is_refused(wrong, audits, tmp_path):
    with pytest.raises(ValueError, match="audits"):
        audit.page(tmp_path / "page.html", wrong)
    with pytest.raises(ValueError, match="number of audits"):
        audit.page(tmp_path / "page.html", {"before": audits["before"]})
