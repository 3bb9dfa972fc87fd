"""The study from flags to page, small, on real data; and the settings that make its comparisons fair."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from experiments import common
from experiments.gecko import grid, run, train
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from gecko_jax import datasets, losses, privacy, reports, training
from gecko_jax.training import ensemble
from gecko_jax.trees import take

ROWS = ("full", "xnor", "phase2_homogeneous", "pruned50", "dp_eps8")
TINY = dict(hidden=(16, 16), models=3, epochs=(3,), fine_tuning_epochs=(2,), dp_epochs=(2,), methods=ROWS)


def flags_of(folder, **changes):
    settings = {**TINY, "output": folder, **changes}
    return [f"--{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in settings.items()]


class Killed(BaseException):
    """What ends a process, which no handler of errors catches."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that ends in the midst of its third row, what it left, and what a second run trained of it."""
    folder, trained = tmp_path_factory.mktemp("gecko"), []
    compile_epoch = ensemble.compiled_epoch

    def dying(rule, *rest):
        trained.append(len(trained))
        if len(trained) == 3:
            raise Killed
        return compile_epoch(rule, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "compiled_epoch", dying)
        with pytest.raises(Killed):
            run.main(["run", *flags_of(folder)])
        patch.undo()
    left = {path: path.read_bytes() for path in sorted((folder / "rows").rglob("*")) if path.is_file()}
    epochs = []

    def counting(rule, *rest):
        run_epoch = compile_epoch(rule, *rest)
        return lambda *parts: (epochs.append(rule), run_epoch(*parts))[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "compiled_epoch", counting)
        run.main(["run", *flags_of(folder)])
    return folder, left, epochs


@pytest.fixture(scope="module")
def finished(killed):
    return killed[0]


def test_a_killed_grid_loses_no_finished_row(killed):
    """The first two rows stay as the killed run left them, to the byte, and none of their epochs runs again."""
    folder, left, epochs = killed
    assert {path.relative_to(folder).parts[2] for path in left} == {"full", "xnor"}
    assert all(path.read_bytes() == content for path, content in left.items())
    groups = len(epochs) / (TINY["fine_tuning_epochs"][0] * 2 + TINY["dp_epochs"][0])
    assert groups in (1, 3)  # phase2, pruned50 and dp_eps8 alone; three models in one program, or in three


def test_every_row_has_its_figures_with_intervals(finished):
    study = reports.read_record(finished)
    assert [row.name for row in study.rows] == [METHODS[name].label for name in ROWS]
    assert study.rows[3].command == grid.command(Config(output=str(finished), **TINY), 0, "pruned50")
    reasons = "--models=3 --epochs=3 --fine_tuning_epochs=2 --hidden=16,16"
    assert study.rows[3].command == f"python -m experiments.gecko.run --preset=quick --methods=pruned50 {reasons}"
    parts = {part.name for exhibit in study.exhibits if type(exhibit) in grid.PARTS
             for part in getattr(exhibit, grid.PARTS[type(exhibit)])}  # fmt: skip
    assert {*map("{}, threshold".format, names := [row.name for row in study.rows]), *names} <= parts
    for row in study.rows:
        for key in ("train", "test", "attack", "auc", "ece"):
            estimate = row.figures[key]
            assert estimate.low <= estimate.value <= estimate.high and estimate.n == 3 and estimate.kind == "measured"
        assert row.figures["bytes"].kind == "counted" and row.figures["energy"].kind == "modeled"


def test_a_private_row_has_its_epsilon_and_the_others_have_none(finished):
    """Accounted again by dp_accounting alone, from what the row's note says of the run."""
    from dp_accounting import dp_event
    from dp_accounting.pld import pld_privacy_accountant

    study = reports.read_record(finished)
    assert [row.name for row in study.rows if "epsilon" in row.figures] == ["DP-Adam, ε = 8"]
    row, (column,) = study.rows[-1], (column for column in study.columns if column.key == "epsilon")
    assert column.heading == "ε at δ=10⁻⁴" and row.figures["epsilon"].kind == "modeled"
    assert row.note.rpartition("; ")[2] in study.record["privacy"]["mlp/dp_eps8"]
    (noise,) = re.findall(r"rate 64/718, 22 steps, noise multiplier ([0-9.]+)", row.note)
    event = dp_event.PoissonSampledDpEvent(64 / 718, dp_event.GaussianDpEvent(float(noise)))
    accountant = pld_privacy_accountant.PLDAccountant().compose(event, 22)
    assert row.figures["epsilon"].value == pytest.approx(accountant.get_epsilon(1e-4), rel=1e-3)
    assert 7.9 < row.figures["epsilon"].value <= 8
    (note,) = (note for note in study.notes.warnings if "guarantee" in note)
    assert "automatic clipping; one example added or removed; δ = 10⁻⁴; privacy loss distributions" in note


@pytest.mark.parametrize(("delta", "printed"), [(1e-5, "10⁻⁵"), (2.5e-6, "2.5·10⁻⁶"), (3e-12, "3·10⁻¹²")])
def test_a_delta_is_printed_as_a_power(delta, printed):
    assert common.power(delta) == printed


def test_packed_files_are_as_large_as_counted(finished):
    rows = reports.read_record(finished).rows
    assert rows[3].figures["bytes"].value < 0.6 * rows[0].figures["bytes"].value  # half of the weights are gone
    for row, name in zip(rows, ROWS, strict=True):
        path = finished / "rows" / "mlp" / name / "model.packed"
        assert path.stat().st_size == round(1000 * row.figures["file"].value)
        assert row.figures["bytes"].value < row.figures["file"].value  # a device holds no header, and folded norms


def test_a_second_run_trains_nothing_and_says_the_same(finished, monkeypatch):
    config = Config(output=str(finished), **TINY)
    before = reports.read_record(finished)
    monkeypatch.setattr(grid, "Trainer", lambda *a: pytest.fail("trained again"))
    assert grid.study(config).rows == before.rows
    assert grid.study(dataclasses.replace(config, methods=("pruned50",))).rows == before.rows[3:4]  # one row alone

    slower = dataclasses.replace(config, dp_learning_rate=0.5)  # read by the private row alone
    data, _ = grid.load(config)
    asked = {name: (grid.identity(config, 0, name, data), grid.identity(slower, 0, name, data)) for name in ROWS}
    assert [name for name, (then, now) in asked.items() if then != now] == ["dp_eps8"]


def test_what_rows_that_go_on_from_full_precision_do_to_it(finished):
    config = Config(output=str(finished), **{**TINY, "methods": ("full", "pruned50", "temperature5")})
    data, _ = grid.load(config)
    full, pruned, flat = train.train_all(config, data, train.membership(config, data))
    assert pruned.model.rules == ()
    for layer, weights in pruned.variables["params"].items():
        zeros = (weights["kernel"] == 0).reshape(3, -1)
        assert (zeros.sum(1) == zeros.shape[1] // 2).all(), layer
        smallest = np.argsort(np.abs(full.variables["params"][layer]["kernel"]).reshape(3, -1), 1)
        assert all(zeros[i, smallest[i, : zeros.shape[1] // 2]].all() for i in range(3))
    assert flat.variables is full.variables and flat.seconds == 0
    for answers, logits in ((flat.pool, full.pool), (flat.test, full.test)):
        np.testing.assert_allclose(answers, log_softmax(logits.astype(float) / 5, -1), atol=1e-6)


def test_figures_equal_a_plain_computation(finished):
    """Train and test accuracy of a row from its checkpoint, by hand."""
    config = Config(output=str(finished), **{**TINY, "methods": ("full",)})
    data = datasets.load("digits")
    member = train.membership(config, data)
    (row,) = train.train_all(config, data, member)
    hits = row.pool.argmax(-1) == data.train.y
    by_hand = 100 * np.mean([hits[i][member[i]].mean() for i in range(3)])
    shown = next(r for r in reports.read_record(finished).rows if r.name == "Full precision")
    assert shown.figures["train"].value == pytest.approx(by_hand)
    logits = training.predict(row.model, take(row.variables, 1), data.test.x)
    np.testing.assert_allclose(logits, row.test[1], rtol=1e-5, atol=1e-5)


def test_the_page_and_the_audits_are_written(finished):
    assert 'id="table"' in (finished / "report.html").read_text()
    audited = json.loads((finished / "rows" / "mlp" / "xnor" / "audit.json").read_text())
    assert set(audited["rows"]) >= {"confidence", "loss", "entropy", "modified_entropy", "gap"}


def test_phase_two_and_its_control_differ_in_the_loss_alone(monkeypatch):
    calls = {}

    def spy(model, data, member, **options):
        calls[options["label"]] = (model.rules, options)
        n, m = len(data.y), len(member)
        variables = {"params": {"w": np.zeros((m, 1))}}
        return training.Fit(variables, np.zeros((1, m)), np.zeros((1, m))) if n else None

    monkeypatch.setattr(training, "fit_ensemble", spy)
    monkeypatch.setattr(training, "predict_ensemble", lambda model, v, x: np.zeros((3, len(x), 10)))
    config = Config(**{**TINY, "methods": ("full", "xnor", "phase1_control", "phase2_homogeneous")})
    data = datasets.load("digits")
    train.train_all(config, data, train.membership(config, data))
    (rules, control), (other_rules, phase2) = calls["mlp Phase I control"], calls["mlp Phase II homogeneous"]
    assert rules == other_rules
    differing = {k for k in {*control, *phase2} if k not in ("folder", "label") and control.get(k) is not phase2.get(k)}
    differing = {k for k in differing if k not in control or k not in phase2 or control[k] != phase2[k]}
    assert differing == {"extra", "extra_per_model", "loss"}  # the teacher's logits
    assert phase2["loss"] is losses.symmetric_cross_entropy()


def test_what_a_private_row_is_trained_with(monkeypatch):
    """Epsilon covers a row that nothing else feeds, and batches at the rate that it was accounted for."""
    calls = []

    def spy(model, data, member, **options):
        calls.append((model, options))
        return training.Fit({"params": {}, "clipping": {}}, np.zeros((1, 3)), np.zeros((1, 3)))

    monkeypatch.setattr(training, "fit_ensemble", spy)
    monkeypatch.setattr(training, "predict_ensemble", lambda model, variables, x: np.zeros((3, len(x), 10)))
    config = Config(**{**TINY, "methods": ("dp_eps2",), "clipping": "quantile", "dp_batch_size": 100})
    data = datasets.load("digits")
    (row,) = train.train_all(config, data, train.membership(config, data))
    ((model, options),) = calls
    (phase,) = row.epsilon.phases
    assert phase.sampling == options["sampling"] == privacy.poisson(718, 100, 2 * 7)
    assert phase.count_noise_multiplier == 5 and float(row.epsilon) <= 2
    assert options["optimizer"] is training.optimizer("adam", config.dp_learning_rate)
    assert {"init", "extra"}.isdisjoint(options)
    x = data.train.x[:1]
    assert "clipping" in model.init(jax.random.key(0), x) and "clipping" not in row.model.init(jax.random.key(0), x)
    assert row.variables.keys() == {"params"}  # what is packed and priced is the network alone

    with pytest.raises(ValueError, match=r"delta=0.002 must be below 1 / 718"):
        train.train_all(dataclasses.replace(config, delta=0.002), data, train.membership(config, data))
    assert all(method.start is None and method.teacher is None for method in METHODS.values() if method.epsilon)
