"""A saved model and a study on disk: one run's files or a refusal, wherever the run that wrote them died."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from dying import die_at, points

from experiments import one_model, studies
from gecko_jax import datasets, files, integer, reports
from gecko_jax.reports import Column, Row, Study
from gecko_jax.types import Estimate


@pytest.fixture(scope="module")
def runs():
    """Two runs of one shape: nothing but their values tells one's files from the other's."""
    data = datasets.load("digits")
    saved = {}
    for run, rate in (("A", 0.001), ("B", 0.002)):
        config = one_model.Config(hidden=(2,), learning_rate=rate)
        model = one_model.network(config, 10)
        variables = jax.tree.map(lambda leaf, rate=rate: np.full((1, *leaf.shape), rate, np.float32),
                                 jax.eval_shape(model.init, jax.random.key(0), data.train.x[:1]))  # fmt: skip
        saved[run] = one_model.Saved(config, model, variables, datasets.coins(data.train.id, 1, 0))
    return saved, data


def run_of(folder):
    """Which run a folder holds, all of its files together; None if it is refused."""
    try:
        loaded, _ = one_model.load(folder)
    except ValueError as error:
        assert "holds no saved" in str(error) and "\n" not in str(error)
        return None
    values = {float(leaf.flat[0]) for leaf in jax.tree.leaves(loaded.variables)}
    values |= {float(np.ravel(leaf)[0]) for leaf in jax.tree.leaves(integer.read(folder / "model.packed"))}
    assert values == {float(np.float32(loaded.config.learning_rate))}, "files of two runs"
    return "A" if loaded.config.learning_rate == 0.001 else "B"


def test_a_model_is_of_one_run_wherever_the_second_dies(tmp_path, runs):
    saved, data = runs
    outcomes = []
    for point in points(lambda: one_model.save(tmp_path / "count", saved["B"], data)):
        folder = tmp_path / str(point)
        one_model.save(folder, saved["A"], data)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            die_at(patch, point)
            one_model.save(folder, saved["B"], data)
        outcomes.append(run_of(folder))
    assert set(outcomes) == {"A", None, "B"}


@pytest.mark.parametrize("name", ["model.msgpack", "model.packed"])
@pytest.mark.parametrize("damage", ["other run", "cut", "bit", "empty", "gone"])
def test_a_file_that_is_not_the_runs_is_refused(tmp_path, runs, name, damage):
    saved, data = runs
    one_model.save(tmp_path / "A", saved["A"], data)
    one_model.save(tmp_path / "B", saved["B"], data)
    path = tmp_path / "A" / name
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    if damage == "gone":
        path.unlink()
        if name == "model.packed":  # loading does not need it: what was taken away cannot be mixed up
            assert one_model.load(tmp_path / "A")[0].config == saved["A"].config
            return
    else:
        other = (tmp_path / "B" / name).read_bytes()
        path.write_bytes({"other run": other, "cut": content[:-1], "bit": flipped, "empty": b""}[damage])
    with pytest.raises(ValueError, match=rf"A' holds no saved model \(.*{name}.*; models.save writes one"):
        one_model.load(tmp_path / "A")


CONFIG = {"hidden": [2], "learning_rate": 0.001}
BAD_EPSILON = {"warning": None, "noise_multiplier": 1.0, "epsilon": {"phases": [3]}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": CONFIG | {"hidden": [3]}}, "flags describe another network"),
        ({"config": CONFIG | {"normalize": True}}, "flags describe another network"),
        ({"config": CONFIG | {"models": 2}}, "expected (2, "),
        ({"config": CONFIG | {"hiden": [2]}}, "hiden"),
        ({"config": CONFIG | {"hidden": 5}}, "hidden"),
        ({"config": CONFIG | {"epochs": "many"}}, "epochs"),
        ({"config": {"learning_rate": "x"}}, "holds no saved run"),
        ({"privacy": BAD_EPSILON}, "is not a guarantee that Epsilon.to_json wrote"),
        ({"privacy": {"epsilon": 1.0}}, "holds no saved run"),
    ],
)
def test_changed_settings_are_refused_in_a_line(tmp_path, runs, change, said):
    saved, data = runs
    one_model.save(tmp_path, saved["A"], data)
    path = tmp_path / "model.json"
    head = json.loads(path.read_text())
    path.write_text(json.dumps(head | {"settings": head["settings"] | change}))
    with pytest.raises(ValueError) as caught:
        one_model.load(tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def same_code(monkeypatch):
    """Reading all sources takes longer than all else here."""
    monkeypatch.setattr(studies, "code_digest", lambda: "same")


def study(run, config):
    figures = {"auc": Estimate({"A": 0.5, "B": 0.75}[run])}
    record = {"config": config, "seeds": [0], "timings": {}, "code": studies.code_digest(), "files": ["rows/x.json"]}
    return Study(run, "", (Row("r", figures),), (Column("auc", "AUC"),), record=record)


def write_study(folder, run, config):
    files.write_atomic(folder / "rows" / "x.json", f"row of {run}")
    reports.write_record(folder, study(run, config), {"report.html": lambda written: f"page of {written.title}"})


def test_a_study_is_of_one_run_wherever_the_second_dies(tmp_path, same_code):
    """Its figures, its page and the files of its rows; the same settings, so that nothing else tells them apart."""
    config, outcomes = {"steps": 1}, []
    for point in points(lambda: write_study(tmp_path / "count", "B", config)):
        folder = tmp_path / str(point)
        write_study(folder, "A", config)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            die_at(patch, point)
            write_study(folder, "B", config)
        study = studies.finished(folder, config)
        outcomes.append(study and study.title)
        if study:
            assert (folder / "report.html").read_text() == f"page of {study.title}"
            assert (folder / "rows" / "x.json").read_text() == f"row of {study.title}"
            assert f",{study.rows[0].figures['auc'].value}," in (folder / "results.csv").read_text()
    assert set(outcomes) == {"A", None, "B"}


def test_a_study_with_a_page_of_another_run_is_refused(tmp_path, same_code):
    for run in "AB":
        write_study(tmp_path / run, run, {})
    for name in ("report.html", "rows/x.json"):
        shutil.copytree(tmp_path / "A", tmp_path / name[:4])
        shutil.copy(tmp_path / "B" / name, tmp_path / name[:4] / name)
        with pytest.raises(ValueError, match=f"{name} is not the file that was written with the others"):
            reports.read_record(tmp_path / name[:4])
        assert studies.finished(tmp_path / name[:4], {}) is None
    (tmp_path / "A" / "report.html").unlink()  # what is gone misleads nobody, and a study is not finished without it
    assert reports.read_record(tmp_path / "A").title == "A" and studies.finished(tmp_path / "A", {}) is None
    with pytest.raises(FileNotFoundError, match="lacks report.html"):
        reports.read_record(tmp_path / "A", complete=True)
    with pytest.raises(OSError, match="rows/x.json"):
        reports.write_record(tmp_path / "new", dataclasses.replace(study("A", {})))
