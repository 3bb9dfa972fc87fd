"""An interval is printed as half a width only if it is even about its figure; else by its ends."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import reports
from gecko_jax.reports import Column, Row, Study
from gecko_jax.reports.text import interval
from gecko_jax.types import Estimate

SIDES = st.floats(0, 40, allow_nan=False)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.floats(0, 100), SIDES, SIDES, st.integers(0, 4))
def test_what_is_printed_gives_the_ends_back(value, below, above, digits):
    """A reader's own arithmetic on the printed text finds both ends, to the last digit shown."""
    figure = Estimate(value, value - below, value + above)
    text = interval(figure, digits)
    if text.startswith("±"):
        half = float(text[2:].replace(",", ""))
        ends = value - half, value + half
        assert (figure.low < value) == (figure.high > value), "a one-sided interval has no half-width"
    else:
        ends = [float(end.replace(",", "")) for end in text[1:-1].split(", ")]
    np.testing.assert_allclose(ends, (figure.low, figure.high), atol=1.01 * 10.0**-digits)


@pytest.mark.parametrize(
    ("estimate", "digits", "text"),
    [
        (Estimate(0.0, 0.0, 30.8), 1, "[0.0, 30.8]"),
        (Estimate(100.0, 69.2, 100.0), 1, "[69.2, 100.0]"),
        (Estimate(2.0, 0.0, 5.0), 2, "[0.00, 5.00]"),
        (Estimate(0.0, 0.0, 0.004), 2, "[0.00, 4e-03]"),
        (Estimate(0.0, 0.0, 0.0), 2, "± 0.00"),
        (Estimate(0.5, 0.4355, 0.5646), 3, "± 0.065"),
        (Estimate(0.0, -0.2, 0.2), 1, "± 0.2"),
        (Estimate(3.0), 1, ""),
        (Estimate(1.0, float("-inf"), float("inf")), 1, "[-inf, inf]"),
    ],
)
def test_known_cases(estimate, digits, text):
    assert interval(estimate, digits) == text


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_page_tile_and_terminal_say_the_same(value):
    ends = (0.0, 30.8) if not value else (69.2, 100.0)
    rows = (Row("a", {"x": Estimate(value, *ends, unit="%")}), Row("b", {"x": Estimate(50.0, 40.0, 60.0, unit="%")}))
    study = Study("t", "", rows, (Column("x", "X", "%", 1, "high" if value else "low"),))
    wanted = f"[{ends[0]:.1f}, {ends[1]:.1f}]"
    page, text = reports.html(study), reports.table(study, 80)
    line = next(line for line in page.splitlines() if '<th scope="row">a' in line)
    assert wanted in line and "±" not in line
    tile = re.search(r'<dl class="tiles">.*?</dl>', page, re.S).group()
    assert wanted in tile and "±" not in tile
    assert wanted in next(line for line in text.splitlines() if line.startswith("  a"))
    for shown in (page, text):
        assert "± 10.0" in shown and "± 15.4" not in shown and "[low, high]" in shown


def test_no_page_speaks_of_files_that_it_does_not_write(study):
    assert "results.csv" not in reports.html(study)
