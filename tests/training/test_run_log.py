"""Checkpoints are written while training goes on, in their order, and what fails in the other thread is said."""

import threading

import numpy as np
import pytest
from naive_training import assert_same_bits

from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.training.run_log import RunLog

STATE = {"w": np.arange(3, dtype=np.float32)}
SECONDS = 60  # after which a test that waits for the other thread fails


@pytest.fixture
def writes(monkeypatch):
    """What is written, and an event for which each write waits."""
    written, may_write, save = [], threading.Event(), Checkpoints.save

    def slow(self, done, tree):
        assert may_write.wait(SECONDS)
        written.append((done, threading.current_thread() is threading.main_thread()))
        save(self, done, tree)

    monkeypatch.setattr(Checkpoints, "save", slow)
    return written, may_write


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, writes):
    written, may_write = writes
    history = np.zeros((2, 3, 1), np.float32)
    with RunLog(tmp_path, dict, save_every=-1, metric="accuracy") as log:
        log.restore(STATE, history)
        log.epoch_done(0, 3, history, lambda: STATE)
        assert written == []
        history += 7  # the next epoch's, which the checkpoint of this one must not hold
        log.save_every = 1e9
        log.epoch_done(1, 3, history, lambda: STATE)
        assert written == []
        may_write.set()
        log.epoch_done(2, 3, history, lambda: STATE)
        assert written[:1] == [(1, False)]
    assert written == [(1, False), (3, False)]
    with RunLog(tmp_path, dict, save_every=1e9, metric="accuracy") as log:
        assert_same_bits(log.restore(STATE, np.zeros_like(history)), (3, STATE, history))


def test_a_checkpoint_holds_what_was_known_when_it_began(tmp_path, writes):
    history = np.zeros((2, 2, 1), np.float32)
    with RunLog(tmp_path, dict, save_every=-1, metric="accuracy") as log:
        log.restore(STATE, history)
        log.epoch_done(0, 2, history, lambda: STATE)
        history += 7
        writes[1].set()
    with RunLog(tmp_path, dict, save_every=1e9, metric="accuracy") as log:
        assert_same_bits(log.restore(STATE, history + 1), (1, STATE, history - 7))


def test_a_write_that_fails_is_said_by_the_next_epoch_or_at_the_end(tmp_path, monkeypatch):
    def full(self, done, tree):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "save", full)
    history = np.zeros((2, 9, 1), np.float32)
    with pytest.raises(OSError, match="No space left"), RunLog(tmp_path, dict, 1e9, "accuracy") as log:
        log.restore(STATE, history)
        log.saved = -1e9
        log.epoch_done(0, 9, history, lambda: STATE)
        log._under_way.exception(SECONDS)
        log.epoch_done(1, 9, history, lambda: STATE)  # no checkpoint is due, and yet it is said
        pytest.fail("the run went on without its checkpoints")
    with pytest.raises(OSError, match="No space left"), RunLog(tmp_path, dict, 1e9, "accuracy") as log:
        log.restore(STATE, history)
        log.epoch_done(8, 9, history, lambda: STATE)
    with pytest.raises(KeyboardInterrupt) as caught, RunLog(tmp_path, dict, 1e9, "accuracy") as log:
        log.restore(STATE, history)
        log.epoch_done(8, 9, history, lambda: STATE)
        raise KeyboardInterrupt
    assert "Its last checkpoint is lost, too: [Errno 28] No space left" in caught.value.__notes__[0]
