"""The template of a study runs as it is, and its expected table is of its preset."""

from __future__ import annotations

import csv
import pathlib

import pytest

from experiments import expected
from experiments.template import run
from experiments.template.config import PRESETS, Config
from gecko_jax import reports

HOME = pathlib.Path(run.__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    run.main(["run", f"--output={folder}", "--weights=identity,xnor", "--models=2", "--epochs=1", "--hidden=8"])
    return folder


def test_it_runs_from_flags_to_page(folder):
    study = reports.read_record(folder, complete=True)
    assert [row.name for row in study.rows] == ["identity", "xnor"] and study.record["seeds"] == [0, 1]
    assert study.rows[0].figures["bytes"].value > study.rows[1].figures["bytes"].value
    assert 'id="training-curves-0"' in (folder / "report.html").read_text()


def test_a_run_is_as_the_table_that_is_made_of_it(folder, capsys, tmp_path):
    capsys.readouterr()
    expected.main(["expected", str(folder)])
    path = tmp_path / "made.csv"
    path.write_text(capsys.readouterr().out)
    rows = reports.read_record(folder).rows
    assert reports.compare_expected(rows, path) == []
    figures = {(row.name, metric): figure for row in rows for metric, figure in row.figures.items()}
    lines = {(line["row"], line["metric"]): line for line in csv.DictReader(path.read_text().splitlines())}
    assert set(lines) == set(figures)
    for key, figure in figures.items():
        tolerance = float(lines[key]["tolerance"])
        if figure.kind == "counted":
            assert tolerance < 1e-6 * figure.value
        else:
            assert tolerance == pytest.approx(max(1.0, figure.high - figure.low), rel=0.01)


def test_the_expected_table_is_of_the_preset():
    with (HOME / "expected" / "quick.csv").open() as file:
        names = {(line["row"], line["metric"]) for line in csv.DictReader(file)}
    assert names == {(weights, metric) for weights in PRESETS["quick"].weights for metric in ("test", "bytes")}


def test_settings_are_checked_before_anything_is_trained():
    with pytest.raises(ValueError, match="Did you mean 'ternary'"):
        Config(weights=("ternery",))
