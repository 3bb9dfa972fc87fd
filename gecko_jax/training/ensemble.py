"""Training m models of one kind at once: target and shadows, or seeds, each on its own members."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gecko_jax import checks, keys, runtime, surroundings
from gecko_jax.losses import cross_entropy, metric_of
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.training import batch_plan, run_identity, seeds
from gecko_jax.training import layout as layouts
from gecko_jax.training.agreement import agreed, check_batch_size, check_fits, loss_of
from gecko_jax.training.compiled_epoch import compiled_epoch
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.diagnosis import check_trained, locate, not_finite
from gecko_jax.training.gradients import GradFn, batch_gradients
from gecko_jax.training.optimizers import optimizer as named_optimizer
from gecko_jax.training.predict import count_rows
from gecko_jax.training.run_log import RunLog
from gecko_jax.training.schedules import Schedule, check_collections, tabulate
from gecko_jax.training.step import Data, State, make_step
from gecko_jax.trees import named_leaves, part, row_count, take, trainable_leaves, trainable_patterns
from gecko_jax.types import Array, Batch, Examples, Loss, Metric, Model, Variables

SAVE_EVERY = 20.0  # seconds between two checkpoints; the last epoch's is always written


class Fit(NamedTuple):
    """Trained models.

    Attributes:
      variables: with a leading axis [m] (`fit`: without), host arrays.
      loss: mean training loss of each epoch, float32 [epochs, m] (`fit`: [epochs]).
      metrics: the loss's metric by its name, {"accuracy": [epochs, m]}, on the rows trained on, as seen during each
        epoch; same shape. Not private.
    """

    variables: Variables
    loss: np.ndarray
    metrics: dict[str, np.ndarray]


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
    sampling: Sampling | None = None,
    seed: int | None = None,
    model_ids: Sequence[int] | None = None,
    init: Variables | None = None,
    extra: Mapping[str, Any] | None = None,
    extra_per_model: bool = False,
    schedules: Mapping[str, Schedule] | None = None,
    trainable: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    label: str | None = None,
) -> Fit:
    """Trains m models in one compiled program; the code chooses loop, scan, vmap width and sharding.

    Model i is a function of (seed, model_ids[i], its members) and of the settings alone. By itself or among others it
    sees the same initial values, rows and random draws. Its results are the same bits if it shares a program with as
    many others (`layout.Layout`); a product over one model and one over several may round differently in the last bit,
    which training can amplify.

    Args:
      model: the architecture that all share.
      data: the pool of examples, n rows.
      member: bool [m, n], who trains on what.
      loss: a per-example loss; None: that of `gradients`, or cross-entropy. What it `reads` has to be in `extra`.
      gradients: a GradFn in place of the plain gradient of `loss`.
      optimizer: an optax transformation; Adam at 1e-3 where None. Fits with the same object (as `training.optimizer`
        gives) share a compiled program.
      epochs, batch_size: at least 1 each.
      sampling: how batches are drawn instead of passing over all members (`privacy.poisson`): its steps, which `epochs`
        cut into equal parts, its slots in place of `batch_size`. What the accountant is told.
      seed: of initial values, order and draws, in 0..2^32-1. None: 0 for a plain run. For a private one (with
        `gradients`) None draws 128 secret bits from the operating system and keeps them in `folder`, in a file that
        its owner alone can read. Give a private run a seed only to repeat a study: whoever knows the seed, the data
        and the settings can compute the noise and take it away. The noise and the batches of a private run depend on
        the seed and on all that the run is, so that two runs which differ in anything (phases, too) share no noise.
      model_ids: [m] IDs that select each model's random stream, different integers from 0; 0..m-1 if None.
      init: variables with a leading axis [m] to start from, instead of fresh ones.
      extra: what the loss reads beside x and y, {name: pytree with one row for each of the n examples}, such as
        {"teacher": logits [n, classes]}. See `distill`.
      extra_per_model: whether every array of `extra` has a leading axis of the m models, [m, n, ...].
      schedules: what changes with time, {name: function from the share of the run that is done, 0 to below 1, to the
        value in the epoch that begins there}. "learning_rate" is a factor on the optimizer's own (`training.cosine`);
        any other name is a collection of the model's variables, such as "transition", which must be 1 in the last
        epoch (`training.linear(start, end)`): the polynomials alone are deployed. See `training.schedules`. Runs that
        differ in the functions alone share a compiled program.
      trainable: fine-tuning: regular expressions searched in the parameters' paths ("Dense_1/kernel"). What none is
        found in stays as it is, to the bit: no gradient, optimizer state, weight decay or projection. So do the
        statistics (BatchNorm's) of a layer of which no parameter is trained; a quantizer's learned state is trained
        with the layer that stands in its path. None: all parameters. One without a gradient path to the loss (unread,
        or behind `stop_gradient`) never moves.
      folder: where the run keeps its checkpoints and metrics.jsonl; a run that was killed goes on from there, to the
        same bits. Nothing is kept where None.
      label: shown with the progress; silent where None.

    Returns:
      A Fit with a leading axis [m].

    Raises:
      ValueError: arguments that do not fit each other.
      NotFinite: a loss or a trained value that is NaN or infinite, with epoch, step and layer; the last whole
        checkpoint stays.
      OSError: a checkpoint that cannot be written.
    """
    known = loss_of(gradients, loss)
    loss = known or loss or cross_entropy()
    for name, tree in {"data.x": data.x, "data.y": data.y, "member": member, "extra": extra}.items():
        for path, leaf in named_leaves(tree):
            checks.unmasked(f"{name}[{path!r}]" if path else name, leaf)
    member, extra = np.atleast_2d(np.asarray(member)), jax.tree.map(np.asarray, extra)
    ids = tuple(range(len(member))) if model_ids is None else tuple(int(each) for each in model_ids)
    _check(data, member, loss, epochs, extra, extra_per_model)
    full_batches = int(epochs) if batch_size >= member.sum(1).max(initial=0) else None
    trainable = agreed(gradients, trainable_patterns(trainable), sampling, full_batches)
    if sampling is None:
        check_batch_size(gradients, batch_size, member)
    drawn = (0,) * len(ids)
    timetable = tabulate(schedules, int(epochs))
    plan = batch_plan.BatchPlan(member, ids, drawn, int(epochs), batch_size, sampling, timetable)
    batch_plan.check(plan)
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), data.x)
    gradients = gradients or _gradients(model, loss, trainable)
    optimizer = optimizer or named_optimizer()
    shapes = jax.eval_shape(model.init, jax.random.key(0), first)
    keep = trainable_leaves(shapes["params"], trainable)
    if init is not None:
        _check_init(init, shapes, len(ids))
    pool = Data(data.x, data.y, *((None, extra) if extra_per_model else (extra, None)))
    batch = _batch_shapes(plan.slots, pool)
    check_fits(model, gradients, shapes, batch, Batch(data.x, data.y, None, extra))
    check_collections(timetable, shapes)
    private = seeds.is_private(gradients, shapes, batch)
    used = seeds.resolve(seed, private, folder)
    states = _start(model, optimizer, first, used, ids, init, keep)
    layout = layouts.choose(model, shapes, batch.x, len(ids))
    groups = DeviceGroups(layout, len(ids))
    run_epoch = compiled_epoch(model, gradients, optimizer, layout, plan.skips, trainable)
    whole = groups.share(pool._replace(own_extra=None))
    shared = [whole._replace(own_extra=groups.place(take(pool.own_extra, rows))) for rows in groups.rows]

    @functools.cache
    def settings() -> dict:
        one = make_step(model, gradients, optimizer, skips=False, trainable=trainable)
        return run_identity.settings(plan, loss, one, states, pool)

    def run() -> dict:
        """What identifies the run: a folder of another one is not continued."""
        described = run_identity.record(settings(), seeds.described(seed, private), plan, states, pool)
        return described | {"trainable": trainable and list(trainable)}

    drawn = run_identity.private_seeds(used, settings(), plan, states, pool) if private else (used,) * len(ids)
    plan = plan._replace(seeds=drawn)
    history = np.zeros((2, epochs, len(ids)), np.float32)  # loss, metric
    metric = metric_of(loss) if getattr(gradients, "loss", None) else Metric("metric", loss.apply)
    with RunLog(folder, run, SAVE_EVERY, metric.name) as log:
        done, states, history = log.restore(states, history)
        placed = groups.split(states)
        with runtime.progress(epochs - done, label) as bar:
            for epoch in range(done, epochs):
                todo = batch_plan.plan_epoch(plan, epoch)
                parts = [groups.place(todo.row(rows)) for rows in groups.rows]
                before = placed
                results = [run_epoch(*each) for each in zip(before, shared, parts, strict=True)]
                placed = [state for state, _ in results]
                for rows, start, seen, part, (_, metrics) in zip(
                    groups.rows, before, shared, parts, results, strict=True
                ):
                    losses, scores, count = (np.asarray(column) for column in metrics)
                    if (where := not_finite(losses)) is not None:
                        step = make_step(model, gradients, optimizer, plan.skips, trainable)
                        raise locate(model, step, start, seen, part, where, losses, ids[rows[where[0]]], epoch)
                    total = np.maximum(count.sum(1), 1)
                    history[0, epoch, rows] = (losses * count).sum(1) / total
                    means = (each.sum(0, dtype=np.float64) / n for each, n in zip(scores, total, strict=True))
                    history[1, epoch, rows] = [metric.summary(mean) for mean in means]
                log.epoch_done(epoch, epochs, history, functools.partial(groups.join, placed))
                bar.step(f"loss {history[0, epoch].mean():.3f}  {metric.name} {history[1, epoch].mean():.3f}")
    variables = groups.join(placed).variables
    check_trained(variables, ids, epochs, plan.steps, history[0, -1])
    return Fit(variables, history[0], {metric.name: history[1]})


def fit(model: Model, data: Examples, member: Array | None = None, **options) -> Fit:
    """Trains one model; see `fit_ensemble` for the options.

    Args:
      model: the architecture.
      data: the pool of examples, n rows.
      member: bool [n], who is trained on; all where None.
      **options: of `fit_ensemble`; `init` without the axis of models, `model_id` for `model_ids`.

    Returns:
      A Fit without the axis of models.
    """
    rows = row_count("data", data)
    member = np.ones(rows, bool) if member is None else np.asarray(checks.unmasked("member", member))
    checks.shape("member", member, (rows,))
    if options.get("init") is not None:
        options["init"] = jax.tree.map(lambda leaf: np.asarray(leaf)[None], options["init"])
    trained = fit_ensemble(model, data, member[None], model_ids=[options.pop("model_id", 0)], **options)
    metrics = {name: values[:, 0] for name, values in trained.metrics.items()}
    return Fit(take(trained.variables, 0), trained.loss[:, 0], metrics)


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> GradFn:
    """One GradFn for a model and a loss, so that repeated fits share a compiled program."""
    return batch_gradients(model, loss, trainable)


def _check(data, member, loss, epochs, extra, extra_per_model) -> None:
    """What can be known before anything is made, so that a folder is never claimed by a run that cannot begin."""
    n = count_rows("data", data)
    checks.shape("member", member, (None, n))
    checks.whole("epochs", epochs, 1)
    if extra is not None and not isinstance(extra, Mapping):
        raise ValueError(f'extra is a {type(extra).__name__}; expected a mapping, such as {{"teacher": logits}}.')
    for name in loss.reads:
        if name not in (extra or {}):
            way = ", or call training.distill(..., teacher=logits)" if name == "teacher" else ""
            raise ValueError(
                f"loss {loss.name!r} reads extra[{name!r}]: pass extra={{{name!r}: one row for each example}}{way}."
            )
    lead = (len(member), n) if extra_per_model else (n,)
    for name, leaf in named_leaves(extra):
        if np.shape(leaf)[: len(lead)] != lead:
            expected = "(models, examples, ...)" if extra_per_model else "(examples, ...)"
            raise ValueError(
                f"extra[{name!r}] has shape {np.shape(leaf)}; expected {lead} and what one example has, {expected}, "
                f"because extra_per_model={extra_per_model} (of training.distill: teacher_per_model)."
            )


def _batch_shapes(slots: int, pool: Data) -> Batch:
    """One step's batch, as shapes."""

    def shape(row: np.ndarray) -> jax.ShapeDtypeStruct:  # in JAX's type: int64 labels get to a step as int32
        return jax.ShapeDtypeStruct((slots, *row.shape), jax.dtypes.canonicalize_dtype(row.dtype))

    one = pool.of(0)
    extra = one.extra if one.own_extra is None else one.own_extra
    x, y, extra = jax.tree.map(lambda leaf: shape(np.asarray(leaf[0])), (one.x, one.y, extra))
    return Batch(x, y, shape(np.float32(0)), extra)


def _start(model, optimizer, x, seed, ids, init, keep) -> State:
    """States [m] before the first epoch."""
    if init is None:
        # One at a time: a model's bits do not depend on its company, and one compiled program serves any number.
        root, one = keys.stream(seed, "init"), _initialiser(model)
        each = [jax.tree.map(np.asarray, one(root, np.uint32(each), x)) for each in ids]
        init = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    else:
        init = jax.tree.map(np.asarray, init)
    return State(init, jax.tree.map(np.asarray, _optimizer_start(optimizer)(part(init["params"], keep))))


def _check_init(init, expected, models) -> None:
    """Whether the values to start from are this model's: others would be ignored here and fail obscurely there."""
    given, wanted = dict(named_leaves(init)), dict(named_leaves(expected))
    for name in [*given, *wanted]:
        if name not in wanted:
            raise ValueError(f"init has {name!r}, which the model has not. The model has: {checks.listed(wanted, 20)}.")
        if name not in given:
            raise ValueError(f"init lacks {name!r}, which the model has. It has: {checks.listed(given, 20)}.")
        checks.shape(f"init[{name!r}]", given[name], (models, *wanted[name].shape))


@functools.lru_cache(maxsize=64)
def _initialiser(model: Model):
    """(root key, a model's ID, x) -> its variables."""
    return surroundings.jit(lambda root, model_id, x: model.init(jax.random.fold_in(root, model_id), x))


@functools.lru_cache(maxsize=64)
def _optimizer_start(optimizer: optax.GradientTransformation):
    return jax.jit(jax.vmap(optimizer.init))
