"""The clipping study from flags to pages, small, on real data; its choices and figures against plain computations."""

import csv
import dataclasses
import json
import math
import pathlib

import jax
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from experiments.dp_clipping import data, measure, run, snli, train
from experiments.dp_clipping.config import PRESETS, Config
from experiments.dp_clipping.rules import RULES
from gecko_jax import clippings, privacy, reports
from gecko_jax.trees import take

TINY = dict(
    hidden=(8,), rules=("none", "flat"), optimizers=("sgd",), models=2, epochs=2, sgd_rates=(0.3, 1.0),
    grid_rules=("flat",), grid_clip_norms=(0.5,), grid_rates=(0.5,), regression_epochs=2,
    regression_sgd_rates=(0.03,),
)  # fmt: skip
LABELS = ["Not private, SGD", "Local flat, DP-SGD"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dp_clipping")
    flags = [f"--{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in TINY.items()]
    run.main(["run", f"--output={folder}", *flags])
    return folder


@pytest.fixture(scope="module")
def config(finished):
    return Config(output=str(finished), **TINY)


def trained(config, finished, rule):
    """A row's models at both rates, from their checkpoints."""
    task = data.classification(config)
    folder = finished / "classification" / "checkpoints" / rule / "sgd"
    return task, train.train_row(config, task, rule, "sgd", folder)


def test_every_row_has_its_figures_and_its_epsilon(finished, config):
    study = reports.read_record(finished / "classification")
    assert [row.name for row in study.rows] == LABELS
    for row in study.rows:
        for key in ("test", "ece", "mce", "nll", "brier", "ece_scaled", "loss"):
            assert row.figures[key].kind == "measured" and row.figures[key].n == 2
        assert row.figures["epsilon"].kind == "modeled"
        private = row.name != LABELS[0]
        assert (3.99 < row.figures["epsilon"].value <= 4) if private else math.isinf(row.figures["epsilon"].value)
    assert set(study.record["epsilon"]) == set(LABELS[1:])
    assert "one example added or removed" in study.record["epsilon"][LABELS[1]]
    assert any("PLD 5.16, RDP 6.5" in note for note in study.notes.warnings)


def test_the_other_parts_are_there(finished):
    grid = reports.read_record(finished / "grid")
    assert [row.name for row in grid.rows] == ["Local flat: R = 0.5, rate · R = 0.5"]
    assert grid.rows[0].figures["rate"].value == 1.0
    regression = reports.read_record(finished / "regression")
    assert [row.name for row in regression.rows] == LABELS
    residual = {row.name: row.figures["rmse"].value ** 2 for row in regression.rows}
    r2 = {row.name: row.figures["r2"].value for row in regression.rows}
    y = data.regression(Config(**TINY)).test.y
    assert r2[LABELS[0]] == pytest.approx(1 - residual[LABELS[0]] / y.var(), abs=0.01)  # of means, not the mean of them
    for part in ("classification", "regression", "grid"):
        page = (finished / part / "report.html").read_text()
        assert ('id="reliability-diagrams-0"' in page) == (part == "classification")


def test_a_second_run_shows_what_stands(finished, capsys):
    flags = [f"--{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in TINY.items()]
    run.main(["run", f"--output={finished}", *flags])
    assert capsys.readouterr().out.count("Nothing changed since this study was run") == 3


def test_the_best_rate_is_that_of_the_held_out_records(config, finished):
    task, rows = trained(config, finished, "flat")
    right = [(row.held_out.argmax(-1) == task.train.y[~task.member]).mean() for row in rows]
    assert right[0] >= right[1] and {row.rate for row in rows} == {0.3, 1.0} and all(row.edge for row in rows)
    assert (~task.member).sum() == round(0.2 * len(task.train.y))
    shown = next(row for row in reports.read_record(finished / "classification").rows if row.name == LABELS[1])
    assert shown.figures["rate"].value == rows[0].rate
    hits = 100 * (rows[0].test.argmax(-1) == task.test.y).mean()
    assert shown.figures["test"].value == pytest.approx(hits)


def test_unequal_factors_are_those_of_the_examples_gradients(config, finished):
    """Beside norms from `vmap`, a method of its own; clipping at their median treats half of the members alike."""
    task, rows = trained(config, finished, "none")
    members = np.flatnonzero(task.member)[:1000]
    loss = privacy.example_loss(task.model, task.loss)
    batch = data.Examples(task.train.x[members], task.train.y[members], members)
    params = take(rows[0].variables, 0)
    norms = np.asarray(jax.jit(privacy.clipped_sum(loss, clippings.flat(1.0), method="vmap"))(params, batch)[1])
    half = dataclasses.replace(config, clip_norm=float(np.median(norms)), threshold=float(np.quantile(norms, 0.75)))
    shares = {"none": 0, "flat": 0.5, "global": 0.5, "global_high": 0.25, "automatic": 1}
    for rule, share in shares.items():
        assert measure.unequal(half, task, rows[0]._replace(rule=rule)) == pytest.approx(share, abs=2e-3), rule
    adapted = rows[0]._replace(rule="global_adapt", threshold=np.float32(half.threshold))
    assert measure.unequal(half, task, adapted) == pytest.approx(0.25, abs=2e-3)


def test_temperatures_keep_to_their_budget_and_to_their_records(config, finished):
    noise = measure.temperature_noise(1.0, 1e-4)
    mu = measure.TEMPERATURE_STEPS**0.5 / noise  # of the Gaussian mechanisms together; delta by its closed form
    assert norm.cdf(mu / 2 - 1 / mu) - math.e * norm.cdf(-mu / 2 - 1 / mu) == pytest.approx(1e-4, rel=1e-6)
    task, rows = trained(config, finished, "none")
    figures = measure.calibration(config, task, rows[0])
    probs = [softmax(logits / figures["temperature"].value, -1) for logits in rows[0].test]
    assert all(np.isfinite(each).all() for each in probs) and figures["temperature"].value > 0


def test_all_rules_make_a_clipping_of_the_asked_sensitivity():
    params = {"dense": {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}, "logits": {"kernel": np.zeros((2, 2))}}
    for name, rule in RULES.items():
        clipping = rule.make(0.5, 2.0, params)
        if name == "none":
            assert clipping is None
            continue
        clipping = clipping.at(np.float32(2)) if hasattr(clipping, "at") else clipping
        assert clipping.sensitivity == pytest.approx(0.5)
    assert set(RULES) == set(Config().rules)


def test_the_papers_snli_epsilon_by_each_accountant():
    epsilons = snli.epsilons()
    assert epsilons["pld"] == pytest.approx(5.16, abs=0.01) and epsilons["rdp"] == pytest.approx(6.53, abs=0.01)
    assert epsilons["clt"] < 1.3 < epsilons["pld"]  # the printed epsilon is below every bound


def test_expected_figures_are_of_the_presets_rows():
    files = sorted((pathlib.Path(run.__file__).parent / "expected").glob("*.csv"))
    assert {path.stem for path in files} >= {"quick_classification", "quick_regression", "quick_grid"}
    for path in files:
        preset, _, part = path.stem.rpartition("_")
        config = PRESETS[preset]
        with path.open(newline="") as file:
            names = {line["row"] for line in csv.DictReader(file)}
        if part == "grid":
            cells = len(config.grid_rules) * len(config.grid_clip_norms) * len(config.grid_rates)
            assert 0 < len(names) <= cells  # less those whose loss ran away
            continue
        assert names == {
            f"{RULES[rule].label}, {'' if rule == 'none' else 'DP-'}{measure.OPTIMIZERS[optimizer]}"
            for rule in config.rules
            for optimizer in config.optimizers
        }


@pytest.mark.parametrize(
    "settings, said",
    [
        (dict(rules=("flat", "flatt")), "rule='flatt' is not known. Did you mean 'flat'"),
        (dict(rules=()), "rules is empty"),
        (dict(optimizers=("adamw",)), "optimizer='adamw' is not known"),
        (dict(grid_rules=("none",)), "grid_rules hold 'none', which has no clip norm"),
        (dict(threshold=0.5), "threshold=0.5 must be at least 1.0"),
        (dict(models=1), "models=1 must be at least 2"),
        (dict(epsilon=0.0), "epsilon=0.0 must be a finite number above 0"),
        (dict(regression="housing"), "regression='housing' is not known"),
        (dict(held_out=1.0), "held_out=1.0 must lie between"),
        (dict(sgd_rates=()), "sgd_rates is empty"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        Config(**settings)


def test_a_run_of_which_every_rate_ran_away_says_so(tmp_path):
    bad = dataclasses.replace(Config(**TINY), sgd_rates=(1e30,), rules=("none",), dataset="digits")
    with pytest.raises(train.training.NotFinite, match="Lower the learning rate"):
        train.train_row(bad, data.classification(bad), "none", "sgd", tmp_path)


def test_records_can_be_read_by_other_programs(finished):
    record = json.loads((finished / "classification" / "record.json").read_text())
    assert record["record"]["config"]["rules"] == list(TINY["rules"])
