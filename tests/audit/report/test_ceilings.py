"""Beside every figure stands the most that the claimed guarantee allows."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from gecko_jax import attacks, audit, privacy
from gecko_jax.audit.report.ceilings import ceilings
from gecko_jax.privacy import Epsilon

GUARANTEES = [(0.0, 0.0), (0.1, 1e-5), (1.0, 1e-5), (1.0, 0.05), (4.0, 1e-6), (8.0, 1e-5), (800.0, 1e-5), (math.inf, 0)]


def claim(value, delta=1e-5):
    return Epsilon(value, delta, "add_or_remove", "pld", ())


def frontier(value, delta, points=200_001):
    """(fpr, tpr) of the strongest test between two mechanisms that (epsilon, delta) allows: those which attain it give
    a secret away with chance delta, and else answer by randomized response (Kairouz, Oh and Viswanath 2015)."""
    truth = 1.0 / (1.0 + math.exp(-value))
    # Outcomes: "surely in", "says in", "says out", "surely out"; likelihood ratios fall in this order.
    under_in = np.array([delta, (1 - delta) * truth, (1 - delta) * (1 - truth), 0.0])
    under_out = under_in[::-1]
    grid = np.linspace(0, 1, points)
    return grid, np.interp(grid, np.concatenate([[0], np.cumsum(under_out)]),
                           np.concatenate([[0], np.cumsum(under_in)]))  # fmt: skip


@pytest.mark.parametrize(("value", "delta"), GUARANTEES)
def test_they_are_those_of_the_strongest_mechanism(value, delta):
    actual = ceilings(claim(value, delta))
    fpr, tpr = frontier(value, delta)
    tpr[0] = max(tpr[0], delta)
    at = {rate: np.interp(rate, fpr, tpr) for rate in (0.01, 0.001)}
    wanted = {
        "auc": np.trapezoid(tpr, fpr),
        "attack_accuracy": ((1 + tpr - fpr) / 2).max(),
        "advantage": (tpr - fpr).max(),
        "tpr_at_1pct": at[0.01],
        "tpr_at_0p1pct": at[0.001],
        "ppv_at_1pct_prior": 0.01 * at[0.01] / (0.01 * at[0.01] + 0.99 * 0.01),
        "ppv_at_10pct_prior": 0.1 * at[0.01] / (0.1 * at[0.01] + 0.9 * 0.01),
    }
    assert actual == pytest.approx(wanted, abs=2e-5)


def test_of_a_run_that_is_known_they_are_tighter():
    """Every example in every batch: one Gaussian release of sensitivity 1, whose AUC is Phi(mu / sqrt 2)."""
    run = privacy.epsilon(privacy.poisson(100, 100, 16), 8.0, 1e-5)
    mu = 4.0 / 8.0
    actual, loose = ceilings(run), ceilings(claim(float(run)))
    assert actual["auc"] == pytest.approx(stats.norm.cdf(mu / np.sqrt(2)), abs=1e-3)
    assert actual["advantage"] == pytest.approx(2 * stats.norm.cdf(mu / 2) - 1, abs=1e-3)
    assert actual["tpr_at_1pct"] == pytest.approx(stats.norm.cdf(stats.norm.ppf(0.01) + mu), abs=1e-3)
    assert all(actual[name] < loose[name] for name in actual)
    one = Epsilon(1.0, 1e-5, "add_or_remove", "clt", run.phases)  # no bound, and so no run to trust: as it is claimed
    assert ceilings(one) == ceilings(claim(1.0))


def outputs(models=4, n=400):
    rng = np.random.default_rng(0)
    member, y = rng.random((models, n)) < 0.5, rng.integers(0, 3, n)
    return rng.normal(size=(models, n, 3)) + 0.1 * member[..., None] * np.eye(3)[y], y, member


def test_an_audit_prints_draws_and_saves_them(tmp_path):
    logits, y, member = outputs()
    report = audit.audit_models(logits, y, member, [attacks.loss(), attacks.rmia()], claimed_epsilon=claim(1.5))
    line = next(line for line in report.table().splitlines() if line.startswith("ceiling, epsilon 1.5"))
    cells = [float(cell) for cell in line.split()[3:]]
    keys = ("auc", "attack_accuracy", "advantage", "tpr_at_1pct", "tpr_at_0p1pct")
    assert cells == pytest.approx([report.ceilings[key] for key in keys], abs=5e-5)
    assert cells[3] == pytest.approx(math.exp(1.5) * 0.01 + 1e-5, abs=5e-5)
    saved = json.loads(report.to_json())["ceilings"]
    assert saved == dict(report.ceilings) and set(saved) == set(report.rows["loss"]) - {"smallest_fpr"}
    lines = [row for row in csv.DictReader(io.StringIO(report.to_csv())) if row["attack"].startswith("ceiling")]
    assert {row["metric"]: float(row["value"]) for row in lines} == saved
    page = report.html(tmp_path / "page.html").read_text()
    row = re.search(r'<th scope="row">ceiling, epsilon 1.5</th>(.*?)</tr>', page).group(1)
    assert f"<b>{report.ceilings['auc']:.3f}</b>" in row and f"<b>{100 * report.ceilings['tpr_at_1pct']:.2f}</b>" in row
    roc = page[page.index('id="roc-curves-0"') : page.index("</figure>", page.index('id="roc-curves-0"'))]
    assert "ceiling, epsilon 1.5" in roc and "No curve can exceed the solid line" in roc


def test_without_a_claim_there_is_no_ceiling(tmp_path):
    logits, y, member = outputs()
    report = audit.audit_models(logits, y, member, [attacks.loss()])
    assert report.ceilings == {} and "ceiling" not in report.table() and "ceiling" not in report.to_csv()
    assert "ceiling" not in report.html(tmp_path / "page.html").read_text()
