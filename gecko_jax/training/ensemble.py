"""Training m models of one kind at once: target and shadows, or seeds, each on its own members."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gecko_jax import checks, keys, runtime
from gecko_jax.datasets import batches
from gecko_jax.losses import cross_entropy
from gecko_jax.training import layout as layouts
from gecko_jax.training.checkpoints import Checkpoints, digest
from gecko_jax.training.diagnosis import locate, not_finite
from gecko_jax.training.gradients import GradFn, batch_gradients
from gecko_jax.training.groups import Groups
from gecko_jax.training.optimizers import SCHEDULES, rate, transition_at
from gecko_jax.training.optimizers import optimizer as named_optimizer
from gecko_jax.training.program import epoch_program
from gecko_jax.training.step import Data, Epoch, State, make_step
from gecko_jax.trees import take
from gecko_jax.types import Array, Examples, Loss, Model, Variables

SAVE_EVERY = 20.0  # seconds between two checkpoints; the last epoch's is always written


class Fit(NamedTuple):
    """Trained models.

    Attributes:
      variables: with a leading axis [m] (`fit`: without), host arrays.
      loss: mean training loss of each epoch, float32 [epochs, m] (`fit`: [epochs]).
      accuracy: training accuracy of each epoch, as seen during it, same shape.
    """

    variables: Variables
    loss: np.ndarray
    accuracy: np.ndarray


def fit_ensemble(
    model: Model,
    data: Examples,
    member: Array,
    *,
    loss: Loss | None = None,
    gradients: GradFn | None = None,
    optimizer: optax.GradientTransformation | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    models: Sequence[int] | None = None,
    init: Variables | None = None,
    teacher: Array | None = None,
    schedule: str = "constant",
    transition: tuple[int, int] | None = None,
    folder: str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> Fit:
    """Trains m models in one compiled program; the code chooses loop, scan, vmap width and sharding.

    Model i is a function of (seed, models[i], its members) alone: trained by itself or among others it sees the same
    initial values, rows and random draws.

    Args:
      model: the architecture that all share.
      data: the pool of examples, n rows.
      member: bool [m, n], who trains on what.
      loss: a per-example loss; cross-entropy where None. One that reads a teacher needs `teacher`.
      gradients: a GradFn in place of the plain gradient of `loss`.
      optimizer: an optax transformation; Adam at 1e-3 where None.
      epochs, batch_size: at least 1 each.
      seed: of initial values, order and draws.
      models: [m] names of the rows in the random streams; 0..m-1 where None.
      init: variables with a leading axis [m] to start from, instead of fresh ones.
      teacher: teacher's logits on all n rows, [n, classes] for all models or [m, n, classes].
      schedule: of the learning rate, by epoch: "constant" or "cosine".
      transition: (start, end) epochs of the activations' smooth transition; from `end` on they are pure polynomials.
      folder: where the run keeps its checkpoints and metrics.jsonl; a run that was killed goes on from there, to the
        same bits. Nothing is kept where None.
      label: shown with the progress; silent where None.

    Returns:
      A Fit with a leading axis [m].

    Raises:
      ValueError: arguments that do not fit each other.
      NotFinite: a loss that is NaN or infinite, with epoch, step and layer; the last whole checkpoint stays.
    """
    loss = loss or cross_entropy()
    member = np.atleast_2d(np.asarray(member))
    names = tuple(range(len(member))) if models is None else tuple(int(name) for name in models)
    _check(data, member, loss, gradients, epochs, batch_size, teacher, schedule, transition)
    gradients = gradients or _gradients(model, loss)
    optimizer = optimizer or named_optimizer()
    states = _start(model, optimizer, jnp.asarray(data.x[:1]), seed, names, init)
    batch_shape = jax.ShapeDtypeStruct((batch_size, *data.x.shape[1:]), data.x.dtype)
    layout = layouts.choose(model, take(states.variables, 0), batch_shape, len(names))
    groups = Groups(layout, len(names))
    steps = -(-member.sum(1) // batch_size)
    skips = bool((steps < steps.max()).any())
    own_teacher = teacher is not None and np.ndim(teacher) == 3
    run_epoch = epoch_program(model, gradients, optimizer, layout, skips, own_teacher)
    device = Data(jnp.asarray(data.x), jnp.asarray(data.y), None if teacher is None else jnp.asarray(teacher))

    history = np.zeros((2, epochs, len(names)), np.float32)  # loss, accuracy
    settings = dict(epochs=epochs, batch_size=batch_size, seed=seed, models=names, schedule=schedule)
    settings |= dict(loss=loss.name, transition=transition, data=digest(data.x, data.y, member, teacher))
    settings |= dict(start=digest(*jax.tree.leaves(states)))
    with _Keeper(folder, settings, history) as keeper:
        done, states, history = keeper.restore(states, history)
        placed = groups.split(states)
        with runtime.progress(epochs - done, label) as bar:
            for epoch in range(done, epochs):
                work = _work(member, batch_size, seed, names, epoch, rate(schedule, epoch, epochs), transition)
                parts = [
                    (groups.place(work.row(rows)), device._replace(teacher=groups.place(device.teacher[rows])))
                    if own_teacher
                    else (groups.place(work.row(rows)), device)
                    for rows in groups.rows
                ]
                before = placed
                results = [run_epoch(state, shared, part) for state, (part, shared) in zip(before, parts, strict=True)]
                placed = [state for state, _ in results]
                for rows, start, (part, shared), (_, metrics) in zip(groups.rows, before, parts, results, strict=True):
                    losses, correct, count = (np.asarray(column) for column in metrics)
                    if (where := not_finite(losses)) is not None:
                        step = make_step(model, gradients, optimizer, skips)
                        raise locate(model, step, start, shared, part, where, losses, names[rows[where[0]]], epoch)
                    total = np.maximum(count.sum(1), 1)
                    history[0, epoch, rows] = (losses * count).sum(1) / total
                    history[1, epoch, rows] = correct.sum(1) / total
                keeper.epoch_done(epoch, epochs, history, lambda: groups.join(placed))
                bar.step(f"loss {history[0, epoch].mean():.3f}  accuracy {100 * history[1, epoch].mean():.1f} %")
    return Fit(groups.join(placed).variables, history[0], history[1])


def fit(model: Model, data: Examples, member: Array | None = None, **options) -> Fit:
    """Trains one model; see `fit_ensemble` for the options.

    Args:
      model: the architecture.
      data: the pool of examples, n rows.
      member: bool [n], who is trained on; all where None.
      **options: of `fit_ensemble`; `init` and `teacher` without the axis of models, `model_name` for `models`.

    Returns:
      A Fit without the axis of models.
    """
    member = np.ones(len(data.y), bool) if member is None else np.asarray(member)
    checks.shape("member", member, (len(data.y),))
    if options.get("init") is not None:
        options["init"] = jax.tree.map(lambda leaf: np.asarray(leaf)[None], options["init"])
    trained = fit_ensemble(model, data, member[None], models=[options.pop("model_name", 0)], **options)
    return Fit(take(trained.variables, 0), trained.loss[:, 0], trained.accuracy[:, 0])


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, loss: Loss) -> GradFn:
    """One GradFn for a model and a loss, so that repeated fits share a compiled program."""
    return batch_gradients(model, loss)


def _check(data, member, loss, gradients, epochs, batch_size, teacher, schedule, transition) -> None:
    n = len(checks.not_empty("data.y", data.y))
    checks.shape("member", member, (None, n))
    checks.shape("data.x", data.x, (n, *(None,) * (np.ndim(data.x) - 1)))
    checks.at_least("epochs", epochs, 1)
    checks.at_least("batch_size", batch_size, 1)
    checks.one_of("schedule", schedule, SCHEDULES)
    if loss.teacher and teacher is None and gradients is None:
        raise ValueError(f"loss {loss.name!r} reads a teacher: pass teacher=logits [n, classes] or [m, n, classes].")
    if teacher is not None:
        lead = (n,) if np.ndim(teacher) == 2 else (len(member), n)
        checks.shape("teacher", teacher, (*lead, None))
        checks.finite("teacher", teacher)
    if transition is not None and not 0 <= transition[0] < transition[1] < epochs:
        raise ValueError(
            f"transition={transition!r} must satisfy 0 <= start < end < epochs={epochs}, so that the last epoch trains "
            "the polynomials that are deployed."
        )


def _start(model, optimizer, x, seed, names, init) -> State:
    """States [m] before the first epoch."""
    if init is None:
        root = keys.stream(seed, "init")
        init = jax.tree.map(np.asarray, _initialiser(model)(root, np.array(names, np.uint32), x))
    else:
        for leaf in jax.tree.leaves(init):
            checks.shape("init (each leaf)", leaf, (len(names), *np.shape(leaf)[1:]))
        init = jax.tree.map(np.asarray, init)
    return State(init, jax.tree.map(np.asarray, _optimizer_start(optimizer)(init["params"])))


@functools.lru_cache(maxsize=64)
def _initialiser(model: Model):
    """(root key, names [m], x) -> variables [m]; one at a time, so that a model's bits do not depend on its company."""
    return jax.jit(lambda root, names, x: jax.lax.map(lambda name: model.init(jax.random.fold_in(root, name), x), names))


@functools.lru_cache(maxsize=64)
def _optimizer_start(optimizer: optax.GradientTransformation):
    return jax.jit(jax.vmap(optimizer.init))


@jax.jit
def _model_keys(root: Array, names: Array) -> Array:
    """One key a model, as its data, uint32 [m, words]: host arrays are cheap to cut up."""
    return jax.vmap(lambda name: jax.random.key_data(jax.random.fold_in(root, name)))(names)


def _work(member, batch_size, seed, names, epoch, factor, transition) -> Epoch:
    """One epoch's rows, keys and schedules for all models."""
    order = batches(member, batch_size, seed, epoch, models=names)
    model_keys = np.asarray(_model_keys(keys.stream(seed, "steps", epoch), np.array(names, np.uint32)))
    r = np.float32(transition_at(transition, epoch))
    return Epoch(order.indices, order.weight, model_keys, np.float32(factor), r)


class _Keeper:
    """What stays on disk of a run: checkpoints and metrics.jsonl in its folder, or nothing where there is none."""

    def __init__(self, folder, settings, history):
        self.checkpoints = None if folder is None else Checkpoints(folder, settings)
        self.log, self.saved = None, time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.checkpoints:
            self.checkpoints.close()
            if self.log:
                self.log.close()

    def restore(self, states, history):
        """(epochs done, states, history), the log cut back to what is done."""
        if not self.checkpoints:
            return 0, states, history
        done, (states, history) = self.checkpoints.restore((states, history)) or (0, (states, history))
        path = self.checkpoints.folder / "metrics.jsonl"
        path.unlink(missing_ok=True)
        self.log = runtime.JsonLines(path)
        for epoch in range(done):
            self._write(epoch, history)
        return done, states, np.array(history)

    def epoch_done(self, epoch, epochs, history, states) -> None:
        """Logs an epoch, and saves where it is the last or the last save is a while ago."""
        if not self.checkpoints:
            return
        self._write(epoch, history)
        if epoch == epochs - 1 or time.monotonic() - self.saved > SAVE_EVERY:
            self.checkpoints.save(epoch + 1, (states(), history))
            self.saved = time.monotonic()

    def _write(self, epoch, history) -> None:
        self.log.write({"epoch": epoch, "loss": history[0, epoch], "accuracy": history[1, epoch]})
