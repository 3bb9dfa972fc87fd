"""The audit study from flags to pages, small, on real data; its figures against plain computations."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest
from scipy import stats

from experiments.audit import few_shadows, measure, run
from experiments.audit.config import PRESETS, ROWS, Config
from experiments.gecko import config as gecko
from experiments.gecko.methods import METHODS
from gecko_jax import datasets, models, reports, training

NAMES = ("full", "normalized", "int4", "dp_eps8")
TINY = dict(
    methods=NAMES, models=4, hidden=(12, 12), records=240, epochs=(3,), dp_epochs=(2,), delta=1e-3,
    strength_hidden=(12,), strength_shadows=4, strength_targets=3, strength_pairs=2, strength_epochs=12,
    few_shadows=2, few_targets=2, few_retrain_epochs=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    flags = [f"--{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in TINY.items()]
    run.main(["run", f"--output={folder}", *flags])
    return folder


def test_every_row_has_its_attacks_and_its_difference(finished):
    study = reports.read_record(finished / "rows")
    assert [row.name for row in study.rows] == [METHODS[name].label for name in NAMES]
    for name, row in zip(NAMES, study.rows, strict=True):
        for key in ("train", "test", "auc_threshold", "auc_labels", "auc_lira", "auc_rmia"):
            assert row.figures[key].kind == "measured" and row.figures[key].n == 4
        assert ("less_lira" in row.figures) == (name in ("int4", "dp_eps8"))
        assert ("epsilon" in row.figures) == (name == "dp_eps8")
    assert "control" not in study.rows[2].note and study.rows[3].note.endswith("control: Full precision")
    warnings = study.notes.warnings
    warnings = [note for note in warnings if note.startswith("DP-Adam, ε = 8: Accounted")]
    assert any("Empirical lower bound: epsilon >=" in note for note in warnings)
    assert "tenth_lira" not in study.rows[0].figures  # 120 non-members do not resolve it
    assert {column.key for column in study.columns} >= {"less_threshold", "less_lira", "less_rmia", "less_tpr"}


def test_differences_are_those_of_the_targets(finished):
    """A paired t interval by scipy, of the figures that the audits' own files hold."""
    aucs = {}
    for name in NAMES:
        audited = json.loads((finished / "rows" / name / "audit.json").read_text())
        aucs[name] = np.array([target["lira_student"]["auc"]["value"] for target in audited["targets"]])
        assert (finished / "rows" / name / "audit.html").stat().st_size > 10_000
    rows = {row.name: row for row in reports.read_record(finished / "rows").rows}
    less = rows["4-bit"].figures["less_lira"]
    test = stats.ttest_rel(aucs["int4"], aucs["normalized"]).confidence_interval(0.95)
    assert less.value == pytest.approx((aucs["int4"] - aucs["normalized"]).mean())
    assert (less.low, less.high) == pytest.approx((test.low, test.high))


def test_strength_is_of_the_targets_alone(finished):
    """The loss of the three targets, trained again here, against who was in them: AUC by counting pairs."""
    study = reports.read_record(finished / "strength")
    rows = {row.name: row for row in study.rows}
    data = datasets.load("digits")
    pool = type(data.train)(*(part[:240] for part in data.train))
    member = datasets.coins(pool.id, 7, 0)
    pairs = datasets.membership.balanced(pool.id, 4, 1)
    fitted = training.fit_ensemble(
        models.create("mlp", 10, hidden=(12,)),
        pool,
        np.concatenate([member, pairs]),
        epochs=12,
        optimizer=training.optimizer("adam", 1e-3),
    )
    logits = training.predict_ensemble(models.create("mlp", 10, hidden=(12,)), fitted.variables, pool.x)
    aucs = []
    for i in range(4, 7):
        loss = np.log(np.exp(logits[i].astype(np.float64)).sum(1)) - logits[i][np.arange(240), pool.y]
        gaps = loss[~member[i]][None] - loss[member[i]][:, None]
        aucs.append((gaps > 0).mean() + (gaps == 0).mean() / 2)
    assert rows["Loss alone"].figures["auc"].value == pytest.approx(np.mean(aucs), abs=1e-4)
    assert rows["Loss alone"].figures["auc"].n == 3 and rows["LiRA, 4 shadows"].figures["auc"].n == 3
    offline = [row for row in study.rows if "offline, temperature" in row.name]
    assert len(offline) == 4 and all(row.figures["auc"].n == 7 for row in offline)
    assert rows["RMIA, 2 references"].figures["share"].unit == "%"


def test_gains_are_over_the_best_published_attack_and_over_the_better_version(finished):
    rows = {row.name: row.figures for row in reports.read_record(finished / "few_shadows").rows}
    for ours, published in few_shadows.OURS.values():
        for count, k in (("1 shadow", 1), ("2 shadows", 2)):
            others = [rows.get(f"{few_shadows.LABELS[name]}, {count}") for name in published]
            best = max(one["auc"].value for one in others if one is not None)
            figures = rows[f"{few_shadows.LABELS[ours]}, {count}"]
            assert figures["gain_auc"].value == pytest.approx(figures["auc"].value - best), k
            assert figures["gain_auc"].n == figures["auc"].n == 2
    rows = {row.name: row.figures for row in reports.read_record(finished / "versions").rows}
    assert len(rows) == 3 * 2 * 3
    pair = "LiRA, Student's t, float + 4-bit"
    best = max(rows[f"{pair}: {version}"]["auc"].value for version in ("float", "4-bit"))
    together = rows[f"{pair}: together"]
    assert together["gain_auc"].value == pytest.approx(together["auc"].value - best) and together["auc"].n == 4


def test_rounding_keeps_the_ends_and_the_values_apart():
    kernel = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    variables = {"params": {"dense": {"kernel": kernel, "bias": kernel[:, 0]}}}
    rounded = few_shadows.round_weights(variables, 3)["params"]["dense"]
    np.testing.assert_array_equal(rounded["bias"], kernel[:, 0])
    for before, after in zip(kernel, rounded["kernel"], strict=True):
        for channel in range(3):
            assert len(np.unique(after[:, channel])) <= 7
            largest = np.abs(before[:, channel]).max()
            assert np.abs(after[:, channel]).max() == pytest.approx(largest)
            assert np.abs(after - before)[:, channel].max() <= largest / 3 / 2 * (1 + 1e-5)


def test_a_second_run_shows_what_stands(finished, capsys):
    flags = [f"--{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in TINY.items()]
    run.main(["run", f"--output={finished}", *flags])
    assert capsys.readouterr().out.count("Nothing changed since this study was run") == 4


def test_controls_and_rows_are_known():
    """A control differs from its row in what the row is about: it is trained as well, and before it."""
    for name in ROWS:
        control = measure.CONTROLS.get(name, measure.USUAL_CONTROL)
        assert control is None or ROWS.index(control) < ROWS.index(name)
    for preset in PRESETS.values():
        assert preset.methods == ROWS and preset.delta < 1 / (preset.member_rate * preset.records)
    assert "normalized" not in gecko.ROWS and set(gecko.ROWS) < set(METHODS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(models=3), "models=3"),
        (dict(records=10), "records=10"),
        (dict(strength_targets=1), "strength_targets=1"),
        (dict(few_shadows=1), "few_shadows=1"),
        (dict(few_targets=1), "few_targets=1"),
        (dict(architectures=("mlp", "lenet"), epochs=(1, 1), fine_tuning_epochs=(1, 1), dp_epochs=(1, 1)), "of one"),
    ],
)
def test_settings_out_of_bounds_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        Config(**settings)


def test_expected_figures_are_of_the_presets_rows_and_stand_in_the_readme():
    home = pathlib.Path(run.__file__).parent
    figures = {}
    for part in ("rows", "strength"):
        with (home / "expected" / f"fashion_mnist_{part}.csv").open() as file:
            lines = list(csv.DictReader(file))
        assert all(float(line["tolerance"]) > 0 for line in lines)
        figures[part] = {(line["row"], line["metric"]): float(line["value"]) for line in lines}
    assert {row for row, _ in figures["rows"]} == {METHODS[name].label for name in ROWS}
    text = (home / "README.md").read_text()
    for name in ROWS:
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {METHODS[name].label} |"))
        printed = [float(cell.split("±")[0].replace("−", "-")) for cell in line.split("|")[2:11]]
        keys = ("train", "test", "auc_threshold", "auc_labels", "auc_lira", "auc_rmia")
        keys += ("tpr_threshold", "tpr_lira", "tpr_rmia")
        wanted = [figures["rows"][METHODS[name].label, key] for key in keys]
        assert printed == pytest.approx(wanted, abs=0.051)
        assert printed[2:6] == pytest.approx(wanted[2:6], abs=0.00051)
    strength = figures["strength"]
    assert strength["LiRA, 64 shadows", "auc"] >= 0.735 and strength["LiRA, 64 shadows", "tpr_at_1pct"] >= 15.5
    for k in (4, 8, 16, 32, 64):
        assert strength[f"LiRA, Student's t, {k} shadows", "gain"] >= 0
    assert strength["RMIA, 2 references", "share"] >= 97
    broken, counted = (
        strength[f"RMIA offline, temperature 1, ties {ties}", "tpr_at_0p1pct"] for ties in ("broken", "counted")
    )
    assert broken >= 3 * counted


def test_quick_figures_are_of_the_quick_rows():
    home = pathlib.Path(run.__file__).parent
    with (home / "expected" / "quick_rows.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["row"] for line in lines} == {METHODS[name].label for name in PRESETS["quick"].methods}
    assert {line["metric"] for line in lines} == {column.key for column in measure.COLUMNS} - {"tenth_lira"}


def test_few_shadows_stand_in_the_readme():
    """Ours is not below the best published attack by more than its interval, and above it online with four or fewer."""
    home = pathlib.Path(run.__file__).parent
    with (home / "expected" / "fashion_mnist_few_shadows.csv").open() as file:
        figures = {(line["row"], line["metric"]): float(line["value"]) for line in csv.DictReader(file)}
    text = (home / "README.md").read_text()
    for (ours, _), start in zip(few_shadows.OURS.values(), ("", "offline, "), strict=True):
        for k in few_shadows.FEW:
            row = f"{few_shadows.LABELS[ours]}, {k} shadow{'s' * (k > 1)}"
            (line,) = (line for line in text.splitlines() if line.startswith(f"| {start}{k} | ") and "0." in line
                       and line.count("|") == 9)  # fmt: skip
            printed = [float(cell.split("±")[0].replace("−", "-")) for cell in line.split("|")[5:9]]
            wanted = [figures[row, key] for key in ("auc", "tpr_at_1pct", "gain_auc", "gain_tpr")]
            assert printed == pytest.approx(wanted, abs=0.051)
            assert printed[0] == pytest.approx(wanted[0], abs=0.00051)
            assert wanted[2] > (0 if k <= 4 or ours == "hierarchical_lira" else -0.006)


def test_reference_rows_are_set_aside_for_the_defenses_that_read_them(monkeypatch):
    """They are in no table's data: a defense that reads them gets them, and nobody trains on or attacks them."""
    config = Config(**TINY | dict(methods=("dmp",), reference=0.25))
    monkeypatch.setattr("experiments.gecko.train.train_all", lambda *arguments: arguments)
    monkeypatch.setattr(measure, "study", lambda *arguments: arguments)
    _, data, member, (_, trained_on, _, reference) = next(run.parts(config)).make()
    assert len(reference.y) == 60 and data is trained_on and len(data.train.y) == member.shape[1] == 180
    assert not set(reference.id) & set(data.train.id)
