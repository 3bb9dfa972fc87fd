"""Trains the groups of a run, portion by portion, and finds what went wrong in one.

While the devices compute a portion, the host prepares the next one. On an accelerator a portion's states are donated:
its results take their place. If it fails, the states before it are computed again from the last ones on the host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gecko_jax.training import device_groups
from gecko_jax.training.compiled_epoch import RunEpoch
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.diagnosis import check_losses
from gecko_jax.training.feed import Feed, Portion
from gecko_jax.training.run_identity import Run
from gecko_jax.training.step import State, make_step
from gecko_jax.types import Variables


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
        self._placed = begin()  # each group's states, where they are trained

    def epochs(self, epochs: range) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
        """Trains some epochs, and yields each with (losses, scores, counts) [m, steps, ...] of its steps.

        Args:
          epochs: those that are left.

        Raises:
          NotFinite: see `diagnosis.check_losses`.
        """
        portions = self._feed.portions(epochs)
        portion, so_far = next(portions, None), []
        while portion is not None:
            before = None if device_groups.on_accelerator() else self._placed
            results = self._results(portion, self._placed)
            self._placed = [state for state, _ in results]
            upcoming = next(portions, None)  # prepared while the devices compute
            columns = [[np.asarray(column) for column in metrics] for _, metrics in results]
            for group, (losses, _, _) in enumerate(columns):
                self._check(portion, group, losses, before)
            so_far.append([self._groups.join(each) for each in zip(*columns, strict=True)])
            if portion.is_last:
                yield portion.epoch, tuple(np.concatenate(each, axis=1) for each in zip(*so_far, strict=True))
                so_far = []
            portion = upcoming

    def variables(self) -> Variables:
        """Returns the variables [m] on the host, without what the optimizer holds."""
        return self._groups.join([state.variables for state in self._placed])

    def states(self) -> State:
        """Returns the states [m] on the host."""
        return self._groups.join(self._placed)

    def _results(self, portion: Portion, placed: list[State]) -> list[Any]:
        """Starts a portion for all groups: all are under way before one is waited for."""
        return [self._run_epoch(*each) for each in zip(placed, portion.data, portion.parts, strict=True)]

    def remember(self, done: int, states: Callable[[], State], every: float) -> None:
        """Copies the states to the host, if they are donated and `every` seconds have passed.

        Args:
          done: epochs that are done.
          states: () -> the states [m] after them, on the host.
          every: seconds.
        """
        if device_groups.on_accelerator() and time.monotonic() - self._known_since > every:
            copied = states()
            self._known, self._known_since = (done, lambda: self._groups.split(copied)), time.monotonic()

    def _check(self, portion: Portion, group: int, losses: np.ndarray, before: list[State] | None) -> None:
        if np.isfinite(losses).all():
            return
        run, rows = self._run, self._groups.rows[group]
        inputs = (before or self._before(portion))[group], portion.data[group], portion.parts[group]
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
