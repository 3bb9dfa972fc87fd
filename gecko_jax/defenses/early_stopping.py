"""Early stopping: of each model the epoch that fits reference rows best."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import checks, files, hosts, training
from gecko_jax.defenses.defense import Defense, check_reference
from gecko_jax.digests import array_digest
from gecko_jax.models.removed_weights import DROP
from gecko_jax.training.agreement import loss_of
from gecko_jax.training.evaluation import check_rows
from gecko_jax.training.hook_checks import check_observer
from gecko_jax.training.schedules import LEARNING_RATE
from gecko_jax.types import Array, Examples, Model, Variables

FILE = "early_stopping.npz"  # in a run's folder: the best epochs so far, so that a killed run loses none


def early_stopping() -> Defense:
    """Builds training that keeps each model's variables of the epoch with the least mean loss on reference rows.

    If a schedule changes a collection, as pruning and polynomial activations do, the choice is among the epochs in
    which all of them had their last values, because a network in between is not the one to deploy.

    All `epochs` are trained; `Fit.metrics` has "reference_loss" [epochs, m] beside the metric, and `Fit.loss` is of all
    epochs. With private gradients the choice reads no member, and epsilon covers it.

    Raises:
      ValueError: when it trains, no reference rows, rows of the pool among them, or rows that the loss does not read
        (labels out of range); a folder whose run read others.

    Source: as a defense, Song and Mittal, "Systematic evaluation of privacy risks" (2021), section 4.2.

    >>> early_stopping().reads
    ('reference',)
    """

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        rows = check_reference("early_stopping", reference, data)
        loss = loss_of(options.get("gradients"), options.get("loss")) or options.get("loss")
        scheduled = set(options.get("schedules") or {}) - {LEARNING_RATE, DROP}
        check_rows("reference", model, rows, data, loss)
        best, observe = _Best(rows, options.get("folder"), scheduled), options.pop("observe", None)
        check_observer(observe)

        def watch(epoch: int, variables: Variables) -> None:
            best.see(epoch, training.evaluate_ensemble(model, variables, rows, loss).losses.mean(1), variables)
            if observe:
                observe(epoch, variables)

        fitted = training.fit_ensemble(model, data, member, observe=watch, **options)
        history = best.history(len(fitted.loss))
        return training.Fit(
            best.variables(fitted.variables), fitted.loss, {**fitted.metrics, "reference_loss": history}
        )

    return Defense("early_stopping", train, reads=("reference",))


class _Best:
    """The best epoch of each model so far, in memory and in the run's folder.

    Args:
      rows: the reference rows.
      folder: of the run; None: in memory alone.
      scheduled: names of the collections that a schedule changes; an epoch with other values of them starts the choice
        afresh.
    """

    def __init__(self, rows: Examples, folder: str | os.PathLike[str] | None, scheduled: set[str]):
        self.scheduled = scheduled
        self.path = None if folder is None else Path(folder) / FILE
        self.digest = array_digest(*jax.tree.leaves((rows.x, rows.y)))
        self.losses: dict[int, np.ndarray] = {}
        self.epoch, self.leaves = np.zeros(0, int), []
        if self.path:
            self._read(self.path)

    def see(self, epoch: int, losses: np.ndarray, variables: Variables) -> None:
        """Takes up an epoch (from 1), its mean losses [m] and its variables [m, ...]."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]
        self.losses[epoch] = losses
        if not self.leaves or self._is_changed(variables):
            self.epoch, self.leaves = np.full(len(losses), epoch), [leaf.copy() for leaf in leaves]
        elif (better := (losses < (best := self._best_losses())) | np.isnan(best)).any():
            self.epoch[better] = epoch
            for stored, leaf in zip(self.leaves, leaves, strict=True):
                stored[better] = leaf[better]
        if self.path and hosts.is_main():
            self._write(self.path)

    def history(self, epochs: int) -> np.ndarray:
        """Returns the mean losses [epochs, m]; raises ValueError if an epoch was trained without this defense."""
        if missing := [epoch for epoch in range(1, epochs + 1) if epoch not in self.losses]:
            raise ValueError(
                f"folder holds a run of {epochs} epochs, and {FILE} none of epochs {checks.listed(missing)}, which "
                "were trained without early stopping: name a new folder."
            )
        return np.stack([self.losses[epoch] for epoch in range(1, epochs + 1)])

    def variables(self, like: Variables) -> Variables:
        """Returns the best variables [m, ...] in the structure of others."""
        return jax.tree.unflatten(jax.tree.structure(like), self.leaves)

    def _is_changed(self, variables: Variables) -> bool:
        """Returns whether a scheduled collection has other values than in the best epochs."""
        best = self.variables(variables)
        pairs = zip(
            *(jax.tree.leaves([tree[name] for name in self.scheduled]) for tree in (best, variables)), strict=True
        )
        return not all(np.array_equal(before, now) for before, now in pairs)

    def _best_losses(self) -> np.ndarray:
        return np.array([self.losses[epoch][model] for model, epoch in enumerate(self.epoch)])

    def _write(self, path: Path) -> None:
        buffer, numbers = io.BytesIO(), sorted(self.losses)
        arrays: dict[str, Any] = {f"leaf{i}": leaf for i, leaf in enumerate(self.leaves)}
        losses = np.stack([self.losses[number] for number in numbers])
        np.savez(buffer, reference=self.digest, epochs=numbers, losses=losses, best=self.epoch, **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, buffer.getvalue())

    def _read(self, path: Path) -> None:
        arrays = hosts.from_main(lambda: files.read_arrays(path) if path.exists() else None)
        if arrays is None:
            return
        if str(arrays["reference"]) != self.digest:
            raise ValueError(
                f"{str(path)!r} holds the best epochs on other reference rows: pass those of the first run, or name a "
                "new folder."
            )
        self.losses = dict(zip(map(int, arrays["epochs"]), arrays["losses"], strict=True))
        self.epoch = np.array(arrays["best"])
        self.leaves = [np.array(arrays[f"leaf{i}"]) for i in range(sum(name.startswith("leaf") for name in arrays))]
