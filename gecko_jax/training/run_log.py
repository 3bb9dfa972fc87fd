"""The files of a run: checkpoints and metrics.jsonl in its folder; nothing without a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax import runtime
from gecko_jax.files import write_atomic
from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.training.step import State
from gecko_jax.types import Metric


class RunLog:
    """Restores, logs and saves a run; a context manager.

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

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *unused: Any) -> None:
        if self.checkpoints:
            self.checkpoints.close()
            if self._lines:
                self._lines.close()

    def restore(self, states: State, history: np.ndarray) -> tuple[int, State, np.ndarray]:
        """Returns (epochs done, states, history), and cuts the log back to those epochs."""
        if not self.checkpoints:
            return 0, states, history
        done, (states, history) = self.checkpoints.restore((states, history)) or (0, (states, history))
        with self.checkpoints.clear_errors():
            self._lines = _log_of(self.checkpoints.folder / "metrics.jsonl", history, done, self._metric)
        return done, states, np.array(history)

    def epoch_done(self, epoch: int, epochs: int, history: np.ndarray, states: Callable[[], State]) -> None:
        """Logs an epoch, and writes a checkpoint if it is the last epoch or `save_every` seconds have passed."""
        if not self.checkpoints:
            return
        with self.checkpoints.clear_errors():
            self._lines.write(_line(epoch, history, self._metric))
        if epoch == epochs - 1 or time.monotonic() - self.saved > self.save_every:
            self.checkpoints.save(epoch + 1, (states(), history))
            self.saved = time.monotonic()


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
