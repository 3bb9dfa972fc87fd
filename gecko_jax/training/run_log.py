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

from gecko_jax import hosts, runtime
from gecko_jax.files import write_atomic
from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.training.step import State
from gecko_jax.types import Metric


class RunLog:
    """Restores, logs and saves a run; a context manager.

    A checkpoint is copied to the host by the caller's thread and written by another one while training goes on. At most
    one is under way, so that they are written in their order. When the context ends, the last one is complete.

    Of several processes the first alone touches the folder, and the others are told what stands in it: hosts need not
    share a file system, and a run goes on with another number of them. What it writes is whole, because every process
    holds the trained variables of all models at the end anyway.

    Args:
      folder: the run's own folder; None: nothing is written.
      run: () -> what identifies the run; called only if there is a folder.
      save_every: seconds between two checkpoints; that of the last epoch is always written.
      metric: name of the metric, a key of metrics.jsonl.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, run: Callable[[], dict[str, Any]], save_every: float, metric: str
    ):
        self.checkpoints: Checkpoints | None = None
        self._is_kept = folder is not None
        if folder is not None:
            hosts.from_main(lambda: self._open(folder, run()))
        self._lines: Any = None
        self.saved, self.save_every, self._metric = time.monotonic(), save_every, metric
        # Of several processes: the epoch after which the next checkpoint is due, and when that was said.
        self._next: int | None = None
        self._said = 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None

    def _open(self, folder: str | os.PathLike[str], run: dict[str, Any]) -> None:
        self.checkpoints = Checkpoints(folder, run)

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
        if not self._is_kept:
            return 0, states, history
        tree = states, history

        def read() -> int:
            nonlocal tree
            assert self.checkpoints  # process 0 has them
            done, tree = self.checkpoints.restore(tree) or (0, tree)
            with self.checkpoints.clear_errors():
                self._lines = _log_of(self.checkpoints.folder / "metrics.jsonl", tree[1], done, self._metric)
            return done

        if (done := hosts.from_main(read)) and hosts.count() > 1:
            tree = hosts.broadcast(jax.tree.map(_as_array, tree))
        return done, tree[0], np.array(tree[1])

    def epoch_done(self, epoch: int, epochs: int, history: np.ndarray, states: Callable[[], State]) -> None:
        """Logs an epoch, and starts a checkpoint if it is the last epoch or `save_every` seconds have passed.

        Args:
          epoch, epochs: the epoch's number, and how many there are.
          history: of the run, up to this epoch.
          states: () -> the states after it, host arrays that nobody changes.

        Raises:
          OSError: this line, or the checkpoint before, cannot be written.
        """
        if not self._is_kept:
            return
        if self.checkpoints:
            with self.checkpoints.clear_errors():
                self._lines.write(_line(epoch, history, self._metric))
        is_due = epoch == epochs - 1 or self._is_due(epoch)
        if is_due or (self._under_way and self._under_way.done()):
            self._finish_write()
        if is_due:
            tree = states(), history.copy()  # all processes: what lies on several hosts is copied by a program
            if self.checkpoints:
                self._under_way = self._writer.submit(self.checkpoints.save, epoch + 1, tree)
            self.saved = time.monotonic()

    def _is_due(self, epoch: int) -> bool:
        """Returns whether a checkpoint is due; of several processes, the first says now and then after which epoch."""
        seconds = time.monotonic() - self.saved
        if hosts.count() == 1:
            return seconds > self.save_every
        is_due = epoch == self._next
        if is_due or self._next is None:
            pace = max(seconds / max(epoch - self._said, 1), 1e-3)
            self._next = epoch + hosts.from_main(lambda: max(int(self.save_every / pace), 1))
            self._said = epoch
        return is_due

    def _finish_write(self) -> None:
        """Waits for the checkpoint that is under way, and raises what went wrong in it."""
        under_way, self._under_way = self._under_way, None
        if under_way:
            under_way.result()


def _as_array(leaf: Any) -> np.ndarray:
    """Returns an array, or for its shape an array that another process's values replace."""
    return np.empty(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else np.asarray(leaf)


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
