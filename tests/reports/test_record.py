from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from example_study import of_kind

from gecko_jax import reports
from gecko_jax.json_values import plain
from gecko_jax.reports import (
    Column,
    ReliabilityDiagrams,
    Row,
    Study,
    check_record,
    environment,
    read_record,
    write_record,
)
from gecko_jax.reports.environment import revision
from gecko_jax.types import Estimate

RECORD = {"config": {}, "seeds": [0], "timings": {}}


def same(ours, theirs):
    """Asserts that plain data agree part by part, whichever kinds of sequence hold them."""
    if isinstance(ours, (list, tuple, np.ndarray)):
        assert isinstance(theirs, tuple) and len(ours) == len(theirs)
        assert getattr(ours, "_fields", None) == getattr(theirs, "_fields", None)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert ours == theirs


def test_what_is_read_is_what_was_written(tmp_path, study):
    written = write_record(tmp_path, study)
    again = read_record(tmp_path)
    assert again == written
    assert [(r.name, r.group, r.note, dict(r.figures)) for r in again.rows] == [
        (r.name, r.group, r.note, dict(r.figures)) for r in study.rows
    ]
    assert again.rows[0].published == {"attack": 57.46}
    assert again.columns == study.columns
    assert again.tradeoff == study.tradeoff
    assert list(map(type, again.exhibits)) == list(map(type, study.exhibits))
    for ours, theirs in zip(study.exhibits, again.exhibits, strict=True):
        same(ours, theirs)
    for ours, theirs in zip(*(of_kind(each, ReliabilityDiagrams) for each in (study, again)), strict=True):
        np.testing.assert_array_equal(ours.diagrams[2].bins.accuracy, theirs.diagrams[2].bins.accuracy)
    assert again.record["config"]["rules"] == ["Dense", "Conv"]
    assert again.record["environment"]["versions"]["numpy"] == np.__version__


def test_every_figure_is_in_the_csv(tmp_path, study):
    write_record(tmp_path, study)
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(row.figures) for row in study.rows)
    for line in lines:
        figure = next(row for row in study.rows if row.name == line["row"]).figures[line["metric"]]
        parts = [float(line[key]) if line[key] else None for key in ("value", "low", "high")]
        assert (*parts, line["kind"], line["unit"], int(line["n"]) if line["n"] else None) == tuple(figure)


def test_awkward_names_and_values_survive(tmp_path):
    figures = {"a": Estimate(math.inf, -math.inf, math.inf), "b": Estimate(np.float32(0.1), n=np.int64(3))}
    study = Study("t", "", (Row('x, "y"\nz', figures),), (Column("a", "A"), Column("b", "B")), record=RECORD)
    write_record(tmp_path, study)
    row = read_record(tmp_path).rows[0]
    assert row.name == 'x, "y"\nz'
    assert row.figures == {"a": Estimate(math.inf, -math.inf, math.inf), "b": Estimate(float(np.float32(0.1)), n=3)}
    figures["a"] = Estimate(math.nan)
    write_record(tmp_path, dataclasses.replace(study, rows=(Row("x", figures),)))
    assert math.isnan(read_record(tmp_path).rows[0].figures["a"].value)
    json.loads((tmp_path / "record.json").read_text(), parse_constant=pytest.fail)  # JSON has no NaN


def test_a_record_says_how_to_repeat_it(tmp_path, study):
    with pytest.raises(ValueError, match=r"lacks \['seeds', 'timings'\]"):
        write_record(tmp_path, dataclasses.replace(study, record={"config": {}}))
    with pytest.raises(TypeError, match=r"record\['config'\]\['loss'\]\[0\] is a function"):
        write_record(tmp_path, dataclasses.replace(study, record={**RECORD, "config": {"loss": [lambda: 0]}}))
    with pytest.raises(TypeError, match=r"record\['config'\]\['loss'\] is a function"):
        check_record({**RECORD, "config": {"loss": lambda: 0}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "record.json is not complete JSON"),
        (lambda text: "", "record.json is not complete JSON"),
        (lambda text: "[]", "record.json is not a record of a study: its format is 'list'"),
        (lambda text: text.replace("gecko_jax study 2", "gecko_jax study 9"), "its format is 'gecko_jax study 9'"),
        (lambda text: text.replace("gecko_jax study 2", "gecko_jax study 1"), "older version.*Run the study again"),
        (lambda text: text.replace('"files"', '"digests"'), r"lacks \['files'\]"),
        (lambda text: text.replace('"kind": "dot_plot"', '"kind": "dot_plto"'), "Did you mean 'dot_plot'"),
        (lambda text: text.replace('"max_curves_per_panel"', '"curves_a_panel"'), "RocCurves has not: curves_a_panel"),
        (lambda text: text.replace('"max_curves_per_panel": 8', '"max_curves_per_panel": "8"'), "is '8'; expected int"),
        (lambda text: text.replace('"notes"', '"remarks"'), r"lacks \['notes'\] and has, unknown, \['remarks'\]"),
        (lambda text: text.replace('"measured"', '"guessed"', 1), "'guessed' is not known"),
        (lambda text: text.replace('"value": 92.35', '"value": null'), "figures.*value is None; expected float"),
        (lambda text: text.replace('"value": 92.35', '"value": 99.35'), "results.csv does not hold the figures"),
    ],
)
def test_a_spoilt_record_is_refused(tmp_path, study, spoil, message):
    write_record(tmp_path, study)
    path = tmp_path / "record.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


def test_a_run_stopped_between_the_files_is_noticed(tmp_path, study, monkeypatch):
    write_record(tmp_path, study)
    changed = study.rows[0]._replace(figures={**study.rows[0].figures, "auc": Estimate(0.7)})
    real, calls = os.replace, []

    def stop_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, dataclasses.replace(study, rows=(changed, *study.rows[1:])))
    with pytest.raises(FileNotFoundError, match="record.json is not there.*it was not finished"):
        read_record(tmp_path)
    monkeypatch.undo()
    write_record(tmp_path / "other", study)
    (tmp_path / "record.json").write_bytes((tmp_path / "other" / "record.json").read_bytes())
    with pytest.raises(ValueError, match="stopped between the two"):
        read_record(tmp_path)
    (tmp_path / "results.csv").unlink()
    with pytest.raises(FileNotFoundError, match="results.csv is not there"):
        read_record(tmp_path)


def test_plain_takes_what_configs_hold():
    @dataclasses.dataclass
    class Config:
        path: pathlib.Path
        rate: np.ndarray

    value = plain({1: Config(pathlib.Path("a/b"), np.array([0.5, np.nan])), "b": (True, None, np.int8(3))}, "config")
    assert value == {"1": {"path": "a/b", "rate": [0.5, "nan"]}, "b": [True, None, 3]}


def test_environment_is_plain_and_complete():
    record = environment()
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["gecko_jax"] == __import__("gecko_jax").__version__
    assert set(record["versions"]) >= {"jax", "flax", "optax", "numpy"}
    assert record["cpu"]["model"] and record["cpu"]["cores"] >= 1


def test_revision_of_a_checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"]
        command = ["git", "-C", tmp_path, *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert revision(tmp_path) is None
    git("init", "-q")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    assert revision(tmp_path / "inner") == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "inner" / "a").write_text("2")
    assert revision(tmp_path / "inner")["dirty"]
    (tmp_path / "other").mkdir()
    assert revision(tmp_path / "other") is None  # inside the checkout, but none of its files


def test_importing_the_room_loads_neither_jax_nor_matplotlib():
    code = "import sys, gecko_jax.reports as r; r.environment(); print({'jax', 'matplotlib'} & set(sys.modules))"
    root = pathlib.Path(reports.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
