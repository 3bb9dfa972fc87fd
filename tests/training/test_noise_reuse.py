"""No two runs that differ in anything share noise or coins; the same run is the same, to the bit.

The loss is constant, so that all that moves the parameters is the noise: one step of SGD shows 100,000 draws of it.
"""

import itertools
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from naive_training import assert_same_bits

from gecko_jax import clippings, models, privacy, training
from gecko_jax.training import ensemble
from gecko_jax.training.pool import Data, batch_shapes
from gecko_jax.types import Examples, Loss

MODEL = models.from_linen(nn.Dense(1000, use_bias=False))
START = {"params": {"kernel": np.zeros((100, 1000), np.float32)}}
POOL = Examples(np.eye(8, 100, dtype=np.float32), np.arange(8, dtype=np.int32), np.arange(8))
NEIGHBOR = POOL._replace(x=POOL.x + np.eye(8, 100, k=50, dtype=np.float32) * (np.arange(8) == 3)[:, None])
RELABELED = POOL._replace(y=POOL.y[::-1].copy())


def constant(logits, example):
    return 0.0 * logits.sum()


def other(logits, example):
    return 0.0 * logits.max()


def run(pool=POOL, member=None, apply=constant, clip=1.0, noise=1.0, batch_size=4.0, steps=2, rate=1.0, **options):
    """The noise of a run of `steps` steps, in units of its standard deviation in the update."""
    loss = Loss("constant", apply)
    gradients = privacy.private_gradients(privacy.example_loss(MODEL, loss), clippings.flat(clip), noise, batch_size)
    options = dict(init=START, epochs=2, sampling=privacy.poisson(8, batch_size, steps), loss=loss) | options
    start = options["init"]["params"]["kernel"]
    fitted = training.fit(MODEL, pool, member, gradients=gradients, optimizer=optax.sgd(rate), **options)
    return (fitted.variables["params"]["kernel"] - start).ravel() / (rate * noise * clip / batch_size)


def correlation(a, b):
    return abs(np.corrcoef(a, b)[0, 1])


LIMIT = 6 / np.sqrt(START["params"]["kernel"].size)  # 6 sigma of 0: some seeds below are secret, other ones each time

VARIANTS = {
    "as it is": {},
    "one record": dict(pool=NEIGHBOR),
    "labels": dict(pool=RELABELED),
    "the loss": dict(apply=other),
    "the clip norm": dict(clip=2.0),
    "the noise": dict(noise=1.5),
    "the batch": dict(batch_size=2.0),
    "the steps": dict(steps=4),
    "the epochs": dict(epochs=1),
    "the learning rate": dict(rate=0.5),
    "the schedule": dict(schedules={"learning_rate": lambda done: 1.0 - done / 4}),
    "a name": dict(model_id=1),
    "the seed": dict(seed=8),
    "the start": dict(init={"params": {"kernel": START["params"]["kernel"] + 1e-3}}),
}


def test_runs_of_one_seed_that_differ_in_anything_share_no_noise():
    drawn = {name: run(**{"seed": 7, **options}) for name, options in VARIANTS.items()}
    for name, values in drawn.items():
        assert 1 < values.std() < 3, name  # two to four steps of it: it was drawn at all
    for a, b in itertools.combinations(drawn, 2):
        assert correlation(drawn[a], drawn[b]) < LIMIT, f"{a} / {b}"
    np.testing.assert_array_equal(run(seed=7), drawn["as it is"])  # the same run is the same, to the bit


@pytest.mark.parametrize("dtype", [int, np.uint8, np.float32])
def test_members_told_by_numbers_are_refused(tmp_path, dtype):
    """Zeros and ones select rows 0 and 1 alone where a row is told by its number: neighbors would share their noise."""
    member = np.ones(len(POOL.y), dtype)
    with pytest.raises(ValueError, match=rf"member has dtype {np.dtype(dtype)}; expected bool.*member.astype\(bool\)"):
        run(member=member, seed=7, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_phases_share_no_noise_and_neither_do_runs_without_a_seed():
    first = run(seed=7)
    second = run(seed=7, init={"params": {"kernel": -first.reshape(100, 1000) / 4}})
    secret = [run(), run()]
    for a, b in itertools.combinations([first, second, *secret], 2):
        assert correlation(a, b) < LIMIT


def test_who_else_is_trained_changes_nothing():
    """A model's noise is its own: the same alone as beside another, and another one's even on the same members."""
    member = np.ones((2, 8), bool)
    loss = Loss("constant", constant)
    gradients = privacy.private_gradients(privacy.example_loss(MODEL, loss), clippings.flat(1.0), 1.0, 4.0)
    start = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), START)
    fitted = training.fit_ensemble(
        MODEL, POOL, member, gradients=gradients, loss=loss, optimizer=optax.sgd(1.0), init=start, epochs=2, seed=7,
        sampling=privacy.poisson(8, 4.0, 2),
    )  # fmt: skip
    both = fitted.variables["params"]["kernel"].reshape(2, -1) * 4
    assert correlation(*both) < LIMIT
    np.testing.assert_allclose(both[0], run(seed=7), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(both[1], run(seed=7, model_id=1), rtol=1e-5, atol=1e-5)


def test_runs_that_differ_share_no_coins(monkeypatch):
    """Nothing is trained here: the epoch's batches are looked at instead."""

    class Drawn(Exception):
        pass

    def shown(plan, epoch):
        raise Drawn(plan_epoch(plan, epoch).weight.sum(-1).ravel())

    plan_epoch = ensemble.batch_plan.plan_epoch
    monkeypatch.setattr(ensemble.batch_plan, "plan_epoch", shown)

    def sizes(**options):
        with pytest.raises(Drawn) as drawn:
            run(steps=256, epochs=1, **options)
        return drawn.value.args[0]

    one, again, neighbor, secret = sizes(seed=7), sizes(seed=7), sizes(seed=7, pool=NEIGHBOR), sizes()
    np.testing.assert_array_equal(one, again)
    for a, b in itertools.combinations([one, neighbor, secret], 2):
        assert correlation(a, b) < 6 / np.sqrt(256)


def test_a_secret_seed_stays_in_its_folder_and_the_run_goes_on(tmp_path, monkeypatch):
    uninterrupted = run(folder=tmp_path / "a")
    path = tmp_path / "a" / "secret_seed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text().strip()) == 32
    shown = (tmp_path / "a" / "run.json").read_text() + (tmp_path / "a" / "metrics.jsonl").read_text()
    secret = int(path.read_text(), 16)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["seed"] == "secret"
    assert path.read_text().strip() not in shown and str(secret) not in shown
    np.testing.assert_array_equal(run(folder=tmp_path / "a"), uninterrupted)  # finished: read again
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "secret_seed").write_text(path.read_text())
    np.testing.assert_array_equal(run(folder=tmp_path / "b"), uninterrupted)  # trained again, from the same secret
    assert correlation(run(folder=tmp_path / "c"), uninterrupted) < LIMIT


def test_a_secret_seed_that_was_passed_is_not_written_down(tmp_path):
    seed = privacy.secret_seed()
    uninterrupted = run(folder=tmp_path, seed=seed)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert str(seed).encode() not in written and f"{seed:x}".encode() not in written
    np.testing.assert_array_equal(run(folder=tmp_path, seed=seed), uninterrupted)
    with pytest.raises(ValueError, match="seed was 'secret "):
        run(folder=tmp_path, seed=privacy.secret_seed())


@pytest.mark.parametrize("first, second, message", [
    (None, 3, "seed was 'secret', is 3"),
    (3, None, "seed was 3, is 'secret'"),
])  # fmt: skip
def test_a_folder_with_another_kind_of_seed_is_refused(tmp_path, first, second, message):
    run(folder=tmp_path, seed=first)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=message):
        run(folder=tmp_path, seed=second)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("text, message", [(None, "secret_seed is gone"), ("12", "damaged"), ("x", "damaged")])
def test_a_lost_or_damaged_secret_is_said(tmp_path, text, message):
    run(folder=tmp_path)
    path = tmp_path / "secret_seed"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        run(folder=tmp_path)


def test_a_killed_private_run_goes_on_to_the_same_bits_from_its_secret(tmp_path):
    script, folder = Path(__file__).with_name("resume_private_run.py"), tmp_path / "killed"
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    child = subprocess.Popen([sys.executable, script, folder], cwd=root, env=env, stderr=subprocess.PIPE)
    metrics = folder / "metrics.jsonl"
    while child.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        time.sleep(0.005)
    child.kill()
    _, said = child.communicate()
    assert child.returncode == -9, said.decode()[-2000:]
    from resume_private_run import EPOCHS, train

    assert 3 <= metrics.read_bytes().count(b"\n") < EPOCHS
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "secret_seed").write_text((folder / "secret_seed").read_text())
    assert_same_bits(train(folder), train(tmp_path / "whole"))


def test_gradients_without_randomness_are_no_private_run():
    """A GradFn of one's own that draws on its key may be noised; one that does not cannot be."""
    variables = jax.eval_shape(lambda: START)
    shapes = batch_shapes(4, Data(POOL.x, POOL.y))

    def plain(variables, batch, key):
        return jax.tree.map(lambda leaf: leaf * batch.weight.sum(), variables["params"]), ()

    def noised(variables, batch, key):
        return jax.tree.map(lambda leaf: leaf + jax.random.normal(key, leaf.shape), variables["params"]), ()

    def wrapped(variables, batch, key):
        return jax.jit(noised)(variables, batch, key)

    def repeated(variables, batch, key):
        return noised(variables, batch, jax.random.key(0))

    with pytest.raises(ValueError, match="random numbers without their key: .* the same in every step"):
        ensemble.seeds.is_private(repeated, variables, shapes)
    private = [ensemble.seeds.is_private(gradients, variables, shapes) for gradients in (plain, noised, wrapped)]
    assert private == [False, True, True]
