"""The files of a run: checkpoints and metrics.jsonl in its folder; nothing without a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import runtime
from gecko_jax.files import write_atomic
from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.training.step import State
from gecko_jax.types import Metric


class RunLog:
    """Restores, logs and saves a run; a context manager.

    A checkpoint is copied to the host by the caller's thread and written by another one while training goes on. At most
    one is under way, so that they are written in their order. When the context ends, the last one is complete.

    Args:
      folder: the run's own folder; None: nothing is written.
      run: () -> what identifies the run; called only if there is a folder.
      save_every: seconds between two checkpoints; that of the last epoch is always written.
      metric: name of the metric, a key of metrics.jsonl.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, run: Callable[[], dict[str, Any]], save_every: float, metric: str
    ):
        self.checkpoints = None if folder is None else Checkpoints(folder, run())
        self._lines: Any = None
        self.saved, self.save_every, self._metric = time.monotonic(), save_every, metric
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            self._finish_write()
        except OSError as unwritten:
            if error is None:
                raise
            error.add_note(f"Its last checkpoint is lost, too: {unwritten}.")
        finally:
            self._writer.shutdown()
            if self.checkpoints:
                self.checkpoints.close()
                if self._lines:
                    self._lines.close()

    def restore(self, states: State, history: np.ndarray) -> tuple[int, State, np.ndarray]:
        """Returns (epochs done, states, history), and cuts the log back to those epochs.

        Args:
          states: of the run, or their shapes, which come back if nothing is done.
          history: of the run.
        """
        if not self.checkpoints:
            return 0, states, history
        done, (states, history) = self.checkpoints.restore((states, history)) or (0, (states, history))
        with self.checkpoints.clear_errors():
            self._lines = _log_of(self.checkpoints.folder / "metrics.jsonl", history, done, self._metric)
        return done, states, np.array(history)

    def epoch_done(self, epoch: int, epochs: int, history: np.ndarray, states: Callable[[], State]) -> None:
        """Logs an epoch, and starts a checkpoint if it is the last epoch or `save_every` seconds have passed.

        Args:
          epoch, epochs: the epoch's number, and how many there are.
          history: of the run, up to this epoch.
          states: () -> the states after it, host arrays that nobody changes.

        Raises:
          OSError: this line, or the checkpoint before, cannot be written.
        """
        if not self.checkpoints:
            return
        with self.checkpoints.clear_errors():
            self._lines.write(_line(epoch, history, self._metric))
        is_due = epoch == epochs - 1 or time.monotonic() - self.saved > self.save_every
        if is_due or (self._under_way and self._under_way.done()):
            self._finish_write()
        if is_due:
            self._start_write(epoch + 1, (states(), history.copy()))
            self.saved = time.monotonic()

    def _start_write(self, done: int, tree: Any) -> None:
        """Writes a checkpoint in the other thread; of several processes, which wait for each other in it, in this."""
        assert self.checkpoints
        if jax.process_count() > 1:
            self.checkpoints.save(done, tree)
        else:
            self._under_way = self._writer.submit(self.checkpoints.save, done, tree)

    def _finish_write(self) -> None:
        """Waits for the checkpoint that is under way, and raises what went wrong in it."""
        under_way, self._under_way = self._under_way, None
        if under_way:
            under_way.result()


def _log_of(path: Path, history: np.ndarray, done: int, metric: str) -> runtime.JsonLines:
    """Returns the log of the epochs that are done, replaced in one step: a reader never sees fewer."""
    if runtime.is_main_process():
        write_atomic(path, "".join(runtime.json_line(_line(epoch, history, metric)) for epoch in range(done)))
    return runtime.JsonLines(path)


def _line(epoch: int, history: np.ndarray, metric: str) -> dict[str, Any]:
    return {metric: history[1, epoch], "epoch": epoch, "loss": history[0, epoch]}


def epoch_means(losses: np.ndarray, scores: np.ndarray, counts: np.ndarray, metric: Metric) -> np.ndarray:
    """Returns an epoch's mean loss and metric, [2, m].

    Args:
      losses, counts: [m, steps], mean loss and real rows of each step.
      scores: [m, steps, ...], sums of `Metric.apply` over the rows.
      metric: whose `summary` combines the means.
    """
    total = np.maximum(counts.sum(1), 1)
    means = (each.sum(0, dtype=np.float64) / n for each, n in zip(scores, total, strict=True))
    return np.stack([(losses * counts).sum(1) / total, [metric.summary(mean) for mean in means]])
