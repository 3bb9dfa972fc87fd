"""Tables of figures as spreadsheets save them: with a byte-order mark, other line ends, or in another encoding."""

from __future__ import annotations

import pytest

from gecko_jax import reports
from gecko_jax.types import Estimate

FIGURES = "row,metric,value,low,high,kind,unit,n\nnaïve,auc,0.5,0.4,0.6,measured,,8\n"
EXPECTED = "row,metric,value,tolerance\nnaïve,auc,0.5,0.01\n"
ROWS = (reports.Row("naïve", {"auc": Estimate(0.5)}),)


def read(path, text):
    """What the two doors for a table without its record read."""
    return reports.read_results(path) if text is FIGURES else reports.compare_expected(ROWS, path)


@pytest.mark.parametrize("text", [FIGURES, EXPECTED])
def test_a_byte_order_mark_and_carriage_returns_change_nothing(tmp_path, text):
    plain, marked = tmp_path / "a.csv", tmp_path / "b.csv"
    plain.write_text(text, encoding="utf-8")
    marked.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert getattr(read(marked, text), "rows", []) == getattr(read(plain, text), "rows", [])
    if text is FIGURES:
        assert read(marked, text).rows[0].figures["auc"] == Estimate(0.5, 0.4, 0.6, "measured", "", 8)
    else:
        assert read(marked, text) == []


@pytest.mark.parametrize("text", [FIGURES, EXPECTED])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(tmp_path, text, encoding):
    path = tmp_path / "c.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match="c.csv is not a table as text in UTF-8"):
        read(path, text)


def test_a_study_is_read_whose_files_an_editor_has_marked(tmp_path, study):
    written = reports.write_record(tmp_path, study)
    for name in ("results.csv", "record.json"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert reports.read_record(tmp_path) == reports.read_results(tmp_path / "results.csv") == written


def test_an_expected_table_is_not_taken_for_a_runs_figures(tmp_path):
    (tmp_path / "quick.csv").write_text(EXPECTED, encoding="utf-8")
    with pytest.raises(ValueError, match="quick.csv begins .* a table of expected figures; a run .* results.csv"):
        reports.read_results(tmp_path / "quick.csv")
