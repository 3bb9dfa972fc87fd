"""Trains the groups of a run, portion by portion, and finds what went wrong in one.

While the devices compute a portion, the host prepares the next one. On an accelerator a portion's states are donated:
its results take their place. If it fails, the states before it are computed again from the last ones on the host.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import hosts, runtime
from gecko_jax.training import device_groups
from gecko_jax.training.compiled_epoch import RunEpoch
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.diagnosis import check_losses
from gecko_jax.training.feed import Feed, Portion
from gecko_jax.training.run_identity import Run
from gecko_jax.training.run_log import RunLog, epoch_means
from gecko_jax.training.step import State, make_step
from gecko_jax.types import Metric, Variables

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # losses, scores, counts [m, steps, ...]; see `epoch_means`


class Watch(NamedTuple):
    """Who looks on.

    Attributes:
      label: of the progress; None: no progress is shown.
      observe: see `fit_ensemble`.
    """

    label: str | None
    observe: Callable[[int, Variables], Any] | None


class Pace:
    """Counts rows a second, from the end of the first portion, which compiles."""

    def __init__(self):
        self._rows, self._start = 0.0, None

    def passed(self, counts: np.ndarray) -> None:
        """Counts the rows of a portion."""
        if self._start is None:
            self._start = time.monotonic()
        else:
            self._rows += counts.sum()

    def __str__(self) -> str:
        seconds = time.monotonic() - (self._start or 0)
        return f"  {self._rows / seconds:,.0f} rows/s" if self._rows and seconds else ""


class Trainer:
    """Trains all models of a run, group by group.

    Args:
      run: the run.
      groups: where its models are.
      run_epoch: the compiled steps of a group.
      feed: what they are trained on.
      begin: () -> each group's states before the epoch `done`.
      done: epochs that are done.
    """

    def __init__(
        self,
        run: Run,
        groups: DeviceGroups,
        run_epoch: RunEpoch,
        feed: Feed,
        begin: Callable[[], list[State]],
        done: int,
    ):
        self._run, self._groups, self._run_epoch, self._feed = run, groups, run_epoch, feed
        self._known = done, begin  # from where a portion is computed again
        self._known_since = time.monotonic()
        self._pace = Pace()
        self._placed = begin()  # each group's states, where they are trained

    def train(self, history: np.ndarray, metric: Metric, log: RunLog, watch: Watch) -> None:
        """Trains the epochs that are left.

        Args:
          history: [2, epochs, m], whose columns are filled with each epoch's mean loss and metric.
          metric: how a metric's sums are combined.
          log: where epochs and checkpoints are written.
          watch: who looks on.

        Raises:
          NotFinite: see `diagnosis.check_losses`.
        """
        epochs, so_far = range(self._known[0], history.shape[1]), []
        with runtime.progress(len(epochs) * self._feed.portions_per_epoch, watch.label) as bar:
            for portion, columns in self._portions(epochs):
                so_far.append(columns)
                self._pace.passed(columns[2])
                if not portion.is_last:
                    bar.step(self._line(portion, history.shape[1], metric, epoch_means(*columns, metric)))
                    continue
                columns, so_far = _joined(so_far), []
                history[:, portion.epoch] = epoch_means(*columns, metric)
                self._epoch_done(portion.epoch, history, log, watch)
                bar.step(self._line(portion, history.shape[1], metric, history[:, portion.epoch]))

    def _epoch_done(self, epoch: int, history: np.ndarray, log: RunLog, watch: Watch) -> None:
        if watch.observe:  # before the checkpoint, so that no epoch is restored that was never observed
            watch.observe(epoch + 1, self.variables())
        states = functools.cache(lambda: self._groups.join(self._placed))  # copied at most once
        log.epoch_done(epoch, history.shape[1], history, states)
        is_due = time.monotonic() - self._known_since > log.save_every
        if hosts.count() > 1:  # whose clocks differ
            is_due = states.cache_info().currsize > 0
        if device_groups.on_accelerator() and is_due:
            copied = states()
            self._known, self._known_since = (epoch + 1, lambda: self._groups.split(copied)), time.monotonic()

    def _line(self, portion: Portion, epochs: int, metric: Metric, means: np.ndarray) -> str:
        line = f"loss {means[0].mean():.3f}  {metric.name} {means[1].mean():.3f}"
        if self._feed.portions_per_epoch == 1:
            return line
        return f"epoch {portion.epoch + 1}/{epochs}  {line}{self._pace}"

    def _portions(self, epochs: range) -> Iterator[tuple[Portion, Columns]]:
        """Trains some epochs, and yields each portion with the columns of its steps."""
        portions = self._feed.portions(epochs)
        portion = next(portions, None)
        while portion is not None:
            before = None if device_groups.on_accelerator() else self._placed
            results = self._results(portion, self._placed)
            self._placed = [state for state, _ in results]
            upcoming = next(portions, None)  # prepared while the devices compute
            columns = [[np.asarray(column) for column in metrics] for _, metrics in results]
            for group, (losses, _, _) in enumerate(columns):
                self._check(portion, group, losses, before)
            losses, scores, counts = (self._groups.join(each) for each in zip(*columns, strict=True))
            yield portion, (losses, scores, counts)
            portion = upcoming

    def variables(self) -> Variables:
        """Returns the variables [m] on the host, without what the optimizer holds."""
        return self._groups.join([state.variables for state in self._placed])

    def _results(self, portion: Portion, placed: list[State]) -> list[Any]:
        """Starts a portion for all groups: all are under way before one is waited for."""
        return [self._run_epoch(*each) for each in zip(placed, portion.data, portion.parts, strict=True)]

    def _check(self, portion: Portion, group: int, losses: np.ndarray, before: list[State] | None) -> None:
        if np.isfinite(losses).all():
            return
        run, rows = self._run, self._groups.rows[group]
        state, data = (before or self._before(portion))[group], portion.data[group]
        if hosts.count() > 1:  # each process repeats the steps alone
            state, data = self._groups.on_host((state, data))
        inputs = state, data, portion.parts[group]
        ids = [run.plan.model_ids[row] for row in rows]
        step = make_step(run.rule, run.plan.skips)
        check_losses(losses, run.rule.model, step, inputs, ids, portion.at(rows))

    def _before(self, portion: Portion) -> list[State]:
        """Returns the states before a portion, computed again because they were donated."""
        done, begin = self._known
        placed = begin()
        for each in self._feed.portions(range(done, portion.epoch + 1)):
            if (each.epoch, each.first) == (portion.epoch, portion.first):
                break
            placed = [state for state, _ in self._results(each, placed)]
        return placed


def _joined(portions: Sequence[Columns]) -> Columns:
    """Returns the columns of consecutive portions as those of one."""
    losses, scores, counts = (np.concatenate(each, axis=1) for each in zip(*portions, strict=True))
    return losses, scores, counts
