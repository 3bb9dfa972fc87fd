"""A run that is killed and started again ends in the same bits, and says each epoch once."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from naive_training import assert_same_bits
from resume_run import EPOCHS, train

from gecko_jax import training
from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.training.run_log import RunLog


@pytest.fixture(scope="module")
def uninterrupted():
    return train(None)


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_logged(folder, fitted):
    log = log_of(folder)
    assert [line["epoch"] for line in log] == list(range(EPOCHS)), "each epoch once, in order"
    np.testing.assert_array_equal(np.array([line["loss"] for line in log], np.float32), fitted.loss)
    np.testing.assert_array_equal(np.array([line["accuracy"] for line in log], np.float32), fitted.metrics["accuracy"])


def killed(folder, epochs):
    """Starts the run in its own process and kills it soon after `epochs` epochs; returns how many it logged."""
    run = subprocess.Popen(
        [sys.executable, pathlib.Path(__file__).with_name("resume_run.py"), folder],
        cwd=pathlib.Path(__file__).parents[2], stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    metrics = folder / "metrics.jsonl"
    while run.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= epochs):
        time.sleep(0.005)
    time.sleep(random.random() * 0.2)
    run.kill()
    _, said = run.communicate()
    assert run.returncode == -signal.SIGKILL, f"it ended by itself: {said.decode()[-2000:]}"
    return metrics.read_bytes().count(b"\n")


def environment():
    root = str(pathlib.Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def test_killed_twice_it_ends_in_the_same_bits(tmp_path, uninterrupted):
    first = killed(tmp_path, 3)
    second = killed(tmp_path, first + 4)
    assert 3 <= first < second < EPOCHS
    resumed = train(tmp_path)
    assert_same_bits(resumed, uninterrupted)
    assert_logged(tmp_path, resumed)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [str(EPOCHS)], "nothing half-written stays"


def test_a_finished_run_returns_at_once(tmp_path, uninterrupted, monkeypatch):
    assert_same_bits(train(tmp_path), uninterrupted)

    def never(*args):
        raise AssertionError("it trained again")

    monkeypatch.setattr(training.ensemble, "compiled_epoch", lambda *args: never)
    assert_same_bits(train(tmp_path), uninterrupted)
    assert_logged(tmp_path, uninterrupted)


def test_a_full_disk_keeps_what_was_saved(tmp_path, uninterrupted, monkeypatch, epoch=7):
    """The save after `epoch` fails; with room again the run goes on from the one before, to the same bits."""
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0)
    save, saved = Checkpoints.save, []

    def full(self, done, tree):
        if done == epoch + 1:
            monkeypatch.setattr(self._manager, "save", no_room)
        saved.append(done)
        save(self, done, tree)

    def no_room(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(OSError, match="No space left on device.*The last whole checkpoint is untouched") as caught:
            train(tmp_path)
    assert caught.value.errno == 28 and str(tmp_path) in str(caught.value)
    assert saved == list(range(1, epoch + 2))
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 1e9)
    resumed = train(tmp_path)
    assert_same_bits(resumed, uninterrupted)
    assert_logged(tmp_path, resumed)


def test_a_log_that_cannot_be_written(tmp_path, monkeypatch):
    history = np.zeros((2, 4, 1), np.float32)
    with RunLog(tmp_path, dict, save_every=0, metric="accuracy") as log:
        log.restore({}, history)

        def no_room(record):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(log._lines, "write", no_room)
        with pytest.raises(OSError, match="could not write in .*No space left on device.*make room"):
            log.epoch_done(0, 4, history, dict)


def test_a_log_that_is_ahead_of_the_checkpoint_is_cut_back(tmp_path):
    """The log is written each epoch, the state every so often: what comes after the state is done again."""
    history = np.arange(8, dtype=np.float32).reshape(2, 4, 1)
    state = {"w": np.ones(2, np.float32)}
    with RunLog(tmp_path, dict, save_every=1e9, metric="accuracy") as log:
        assert log.restore(state, history)[0] == 0
        for epoch in range(3):
            log.epoch_done(epoch, 4, history, lambda: state)
        log.checkpoints.save(2, (state, history))
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 3, "lo')
    with RunLog(tmp_path, dict, save_every=1e9, metric="accuracy") as log:
        done, restored, _ = log.restore(state, np.zeros_like(history))
        assert done == 2 and [line["epoch"] for line in log_of(tmp_path)] == [0, 1]
        assert_same_bits(restored, state)
        for epoch in (2, 3):
            log.epoch_done(epoch, 4, history, lambda: state)
    assert [line["epoch"] for line in log_of(tmp_path)] == [0, 1, 2, 3]
    assert [line["loss"] for line in log_of(tmp_path)] == [[0.0], [1.0], [2.0], [3.0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "metrics.jsonl", "run.json"]
