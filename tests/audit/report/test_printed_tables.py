"""A printed report fits 80 and 100 columns, and says there all that one long line a row says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.audit.report.text import TITLES, cell
from gecko_jax.privacy import Epsilon


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    logits, y, member = rng.normal(size=(4, 300, 3)), rng.integers(0, 3, 300), rng.random((4, 300)) < 0.5
    claim = Epsilon(8.0, 1e-5, "add_or_remove", "pld", ())
    return audit.audit_models(logits, y, member, [attacks.lira(), attacks.loss()], claimed_epsilon=claim)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_and_nothing_is_lost(report, width):
    narrow = report.table(width)
    assert max(map(len, narrow.splitlines())) <= width
    words = " ".join(narrow.split())
    for line in report.table().splitlines():  # sentences in whole, rows cell by cell
        for part in re.split(r"  +|-{3,}", line):
            assert " ".join(part.split()) in words
    for metric in TITLES:
        assert all(cell(row[metric]) in narrow for row in report.rows.values())


def test_a_printed_report_is_its_table(report, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    assert str(report) == report.table(90) != report.table()
    assert repr(report) == "<Report of 4 targets by lira, loss>"
