"""What a study's training takes: operations in closed form, rows scaled from timed ones, a dry run that trains none."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import estimates, studies, work
from experiments.estimates import Timed
from experiments.template import run
from experiments.work import Work
from gecko_jax import clippings, models, programs, reports, training
from gecko_jax.types import Estimate, Examples

LIKE = Examples(np.zeros((1, 5), np.float32), np.zeros(1, np.int32), np.zeros(1))
HOME = pathlib.Path(run.__file__).parent
STUDIES = sorted(path.parent.name for path in HOME.parent.glob("*/run.py"))


def mlp(name="row", models_of_row=2, steps=10, hidden=(7,), **options):
    network = models.create("mlp", 3, hidden=hidden)
    return Work(name, network, LIKE, models_of_row, steps, 4, **options)


def test_operations_of_an_mlp_are_those_counted_by_hand():
    forward = 4 * (5 * 7 + 7 * 3)  # products of 4 rows
    backward = forward + 4 * 7 * 3  # of the weights, and of the second layer's inputs
    parameters = 5 * 7 + 7 + 7 * 3 + 3
    assert work.step_operations(mlp()) == 2 * (forward + backward) + 10 * parameters
    private = work.step_operations(mlp(clipping=clippings.flat(1.0)))
    assert private > work.step_operations(mlp()), "the norms of the examples' gradients are products, too"


def test_a_private_step_of_large_batches_counts_all_its_rows():
    """Its rows are computed by microbatches, in a loop that ends where the data end."""
    like = Examples(np.zeros((1, 16, 16, 3), np.float32), np.zeros(1, np.int32), np.zeros(1))
    network = models.create("lenet", 3, channels=(2, 2), hidden=4)
    few, many = (
        work.step_operations(Work("r", network, like, 1, 1, rows, clipping=clippings.flat(1.0))) for rows in (256, 2560)
    )
    fixed = 10 * sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0), like.x)))
    assert many - fixed == 10 * (few - fixed)


def test_loops_count_once_a_turn_and_branches_by_the_larger():
    w, x = jnp.ones((3, 3)), jnp.ones((2, 3))

    def scanned(w, x):
        return jax.lax.scan(lambda carry, _: (carry @ w, None), x, None, length=7)[0]

    def branched(w, x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x)

    def ends_on_a_condition(w, x):
        return jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ w, x)

    with pytest.raises(ValueError, match="loop that ends on a condition"):
        work._macs(programs.trace(ends_on_a_condition, w, x)[0])
    once = 2 * 3 * 3
    assert work._macs(programs.trace(scanned, w, x)[0]) == 7 * once
    assert work._macs(programs.trace(branched, w, x)[0]) == 2 * once


def test_steps_are_those_of_training():
    for members, batch_size, epochs in ((1000, 64, 3), (64, 64, 1), (65, 64, 2), (10, 64, 5)):
        batches = sum(1 for _ in range(0, members, batch_size))
        assert work.steps_of(members, batch_size, epochs) == epochs * batches


def test_rows_that_are_not_timed_are_scaled_and_say_from_which():
    rows = [
        mlp("small", hidden=(4,)),
        mlp("large", hidden=(64,)),
        mlp("twice as long", hidden=(64,), steps=20, fits=3),
        mlp("private", hidden=(64,), clipping=clippings.flat(1.0), steps=1),
    ]
    asked = []

    def fake(row, count):
        asked.append(row.name)
        return Timed(1, 4, 2.0, count)  # 2 s for a step of one model

    estimated = estimates.estimate(rows, seconds=0.0, time_step=fake)
    assert asked == ["twice as long"], "the most expensive is timed, whatever the time"
    speed = work.step_operations(rows[2]) / 2.0
    for row in estimated:
        assert row.seconds.kind == "modeled" and row.seconds.unit == "s"
        expected = row.work.models * row.work.steps * row.work.fits * work.step_operations(row.work) / speed
        assert row.seconds.value == pytest.approx(expected)
        assert row.basis == ("timed" if row.work.name == "twice as long" else "scaled from twice as long")
    assert estimated[2].seconds.value == pytest.approx(2 * 20 * 3 * 2.0)
    text = estimates.table(estimated)
    total = sum(row.seconds.value for row in estimated)
    assert "scaled from twice as long" in text and estimates.runtime.duration(total) in text and "1 of 4" in text


def test_a_private_row_is_scaled_from_a_private_one():
    rows = [mlp("plain", steps=100), mlp("dp", clipping=clippings.flat(1.0)),
            mlp("dp, short", clipping=clippings.flat(1.0), steps=1)]  # fmt: skip
    seconds = iter((1.0, 100.0))

    def fake(row, count):
        if row.name == "dp, short":
            pytest.fail("not worth its time")
        return Timed(1, 4, next(seconds), count)

    clock = iter((0.0, 1.0, 99.0))  # begins, may time the second, and is over before the third
    estimated = estimates.estimate(rows, 10.0, fake, lambda: next(clock))
    assert [row.basis for row in estimated] == ["timed", "timed", "scaled from dp"]
    assert estimated[2].seconds.value == pytest.approx(2 * 1 * 100.0)


def test_the_models_of_a_row_share_the_steps_of_a_card():
    row = mlp(models_of_row=8, steps=100, fits=2)
    assert estimates.card_seconds(row, 1.0) == pytest.approx(200 * estimates.CARD_SECONDS_PER_STEP), "launches"
    count = estimates.CARD_OPERATIONS_PER_SECOND
    assert estimates.card_seconds(row, count) == pytest.approx(200 * 8)


@pytest.mark.parametrize("options", [{}, {"clipping": clippings.flat(1.0)}], ids=["plain", "private"])
def test_a_step_is_timed(options):
    row = mlp(hidden=(), **options)
    timed = estimates.timed_step(row, count := work.step_operations(row))
    assert 0 < timed.seconds < 1 and timed.models == 2 and timed.rows == 4 and timed.operations == 2 * count


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing to estimate"):
        estimates.estimate([])


@pytest.fixture
def quick_timing(monkeypatch):
    monkeypatch.setattr(estimates, "timed_step", lambda row, count: Timed(1, 4, 0.5, count))
    for fit in ("fit", "fit_ensemble"):
        monkeypatch.setattr(training, fit, lambda *args, **options: pytest.fail("trained"))


def test_a_dry_run_trains_and_writes_nothing(tmp_path, capsys, quick_timing):
    run.main(["run", "--estimate", f"--output={tmp_path / 'out'}", "--models=3", "--epochs=2"])
    text = capsys.readouterr().out
    assert all(f"{weights} " in text for weights in ("identity", "ternary", "xnor")) and "modeled" in text
    assert f"{estimates.runtime.duration(3 * 3 * 2 * 23 * 0.5)} (modeled)" in text, "1,437 rows are 23 batches"
    assert not (tmp_path / "out").exists()


@dataclasses.dataclass(frozen=True)
class Settings:
    output: str = "out"


@pytest.mark.parametrize(("preset", "printed"), [("paper", True), ("quick", False)])
def test_the_preset_for_a_card_is_estimated_before_it_starts(tmp_path, capsys, monkeypatch, preset, printed):
    table = reports.Study("t", "", (reports.Row("r", {"auc": Estimate(0.5)}),), (reports.Column("auc", "AUC"),))

    def make():
        assert ("Training in all" in capsys.readouterr().out) == printed, "before it starts"
        return table

    presets = {"quick": Settings(str(tmp_path / "quick")), "paper": Settings(str(tmp_path / "paper"))}
    line = studies.CommandLine("try", HOME, Settings, presets, lambda config: [studies.Part("", make, [0])])
    monkeypatch.setattr(estimates, "timed_step", lambda row, count: Timed(1, 4, 0.5, count))
    monkeypatch.setattr("experiments.template.workload.workload", lambda config: [mlp()])
    monkeypatch.setattr(studies, "code_digest", lambda: "code")
    studies.main(line, ["try", f"--preset={preset}"])
    assert (tmp_path / preset / "record.json").exists()
    studies.main(line, ["try", f"--preset={preset}"])
    again = capsys.readouterr().out
    assert "Nothing changed" in again and "Training in all" not in again, "there is nothing to wait for"


def test_every_study_lists_its_training():
    assert len(STUDIES) >= 10
    for name in STUDIES:
        assert callable(importlib.import_module(f"experiments.{name}.workload").workload)
