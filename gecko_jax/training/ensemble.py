"""Trains m models of one kind at once: target and shadow models, or seeds, each on its own members."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from gecko_jax import checks, hosts
from gecko_jax.datasets.batches import as_members
from gecko_jax.losses import cross_entropy, metric_of
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.training import batch_plan, layout, run_identity, seeds
from gecko_jax.training.agreement import are_rows_apart, check_batch_size, check_fits, loss_of, resolve_trainable
from gecko_jax.training.compiled_epoch import compiled_epoch
from gecko_jax.training.convolution_form import Example, with_form
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.diagnosis import check_trained
from gecko_jax.training.feed import feed_of
from gecko_jax.training.gradients import GradFn, batch_gradients
from gecko_jax.training.hook_checks import check_frozen, check_hooks, check_observer, check_penalty, check_unread
from gecko_jax.training.layer_schedules import LayerSchedule
from gecko_jax.training.optimizers import optimizer as named_optimizer
from gecko_jax.training.pool import batch_shapes, check_reads, examples_of, first_row, pool_of
from gecko_jax.training.predict import check_entries
from gecko_jax.training.run_identity import Run
from gecko_jax.training.run_log import RunLog
from gecko_jax.training.schedules import Schedule, for_model, tabulate
from gecko_jax.training.segments import by_segments
from gecko_jax.training.start import Start, check_init
from gecko_jax.training.step import UpdateRule
from gecko_jax.training.trainer import Trainer, Watch
from gecko_jax.trees import row_count, take, trainable_patterns
from gecko_jax.types import Array, Batch, Examples, Loss, Metric, Model, Variables

CHECKPOINT_INTERVAL_SECONDS = 20.0  # a checkpoint of the last epoch is always written


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


@hosts.guarded
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
    schedules: Mapping[str, Schedule | LayerSchedule] | None = None,
    trainable: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    label: str | None = None,
    observe: Callable[[int, Variables], Any] | None = None,
) -> Fit:
    """Trains m models in one compiled program; the library chooses loop, scan, vmap width and sharding.

    Model i is a function of (seed, model_ids[i], its members) and of the settings alone. Alone or among others it sees
    the same initial values, rows and draws. Its results are the same bits if it shares a program with as many others
    (`layout.Layout`): a product over one model and over several may round differently, which training can amplify.

    Args:
      model: the architecture that all share.
      data: the pool of examples, n rows; x and y may be pytrees. Rows of x need not be in memory: whatever has a shape,
        a dtype and rows by a slice or by rising indices will do (np.memmap, a data set of h5py or zarr). If they are
        too many for the device, the rows of the next steps are read while it computes, with the same draws.
      member: bool [m, n], who trains on what.
      loss: a per-example loss of classes, numbers, sequences or outputs of your own; None: that of `gradients`, or
        cross-entropy. What it `reads` must be in `extra`.
      gradients: the gradient function, private or not, instead of the plain gradient of `loss`.
      optimizer: an optax transformation; None: Adam at 1e-3. Fits with the same object (as `training.optimizer`
        returns) share a compiled program.
      epochs, batch_size: at least 1 each.
      sampling: how batches are drawn, if not in passes over all members (`privacy.poisson`). Its steps are divided into
        `epochs` equal parts, and its slots replace `batch_size`. It is what the accountant was told.
      seed: of initial values, order and draws, in 0..2^32-1. None: 0 for a plain run. For a private run (with
        `gradients`) None draws 128 secret bits from the operating system and keeps them in `folder`, in a file that its
        owner alone can read. Give a private run a seed only to repeat a study: who knows the seed, the data and the
        settings can compute the noise and subtract it. Two private runs that differ in anything share no noise.
      model_ids: [m] IDs that select each model's random stream, different integers from 0; 0..m-1 if None.
      init: variables with a leading axis [m] to start from, instead of fresh ones.
      extra: what the loss reads beside x and y, {name: pytree with one row for each of the n examples}, such as
        {"teacher": logits [n, classes]} (see `distill`) or {"mask": [n, t]}.
      extra_per_model: whether every array of `extra` has a leading axis of the m models, [m, n, ...].
      schedules: what changes with time, {name: function from the share of the run that is done, 0 to below 1, to the
        value in the epoch that begins there}. "learning_rate" is a factor on the optimizer's own (`training.cosine`);
        any other name is a collection of variables, such as "transition", which must be 1 in the last epoch
        (`training.linear(start, end)`, or `training.last_layer_first`): the polynomials alone are deployed. Runs that
        differ in the functions alone share a compiled program. See `training.schedules`.
      trainable: for fine-tuning, regular expressions searched in the parameters' paths ("Dense_1/kernel"). A parameter
        that no expression matches stays as it is, to the bit: no gradient, optimizer state, weight decay or projection.
        So do the statistics of a layer without a trained parameter. A quantizer's learned state is trained with the
        layer in its path. None: all. A parameter without a gradient path to the loss (unread) never moves.
      folder: for checkpoints and metrics.jsonl, from which a killed run continues to the same bits; None: nowhere.
      label: shown with the progress; None: no progress is shown.
      observe: called with (epochs done, variables [m, ...] on the host) after every epoch, to evaluate or copy them. An
        exception of its own ends the run. It does not see the epochs that `folder` restores, which it saw before.

    Returns:
      A Fit with a leading axis [m].

    Raises:
      ValueError: incompatible arguments.
      NotFinite: a loss or a trained value that is NaN or infinite, with epoch, step and layer; the last complete
        checkpoint stays.
      OSError: a checkpoint that cannot be written.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> member = np.array([[True, True, True, False], [False, True, True, True]])
    >>> fits = fit_ensemble(models.create("mlp", 2, hidden=()), data, member, epochs=2)
    >>> fits.loss.shape, fits.variables["params"]["logits"]["kernel"].shape
    ((2, 2), (2, 4, 2))
    """
    # 1. Check what is known before any work: a run that cannot begin claims no folder.
    check_observer(observe)
    loss, data = loss_of(gradients, loss) or loss, examples_of(data)
    loss, is_known = loss or cross_entropy(), loss is not None or gradients is None
    for name, tree in {"data.x": data.x, "data.y": data.y, "member": member, "extra": extra}.items():
        check_entries(name, tree)
    member = as_members(member)
    pool = pool_of(data, member, extra, extra_per_model)
    check_reads(loss, extra, is_known)
    epochs = checks.integer("epochs", epochs, 1)
    full_batches = epochs if batch_size >= member.sum(1).max(initial=0) else None
    trainable = resolve_trainable(gradients, trainable_patterns(trainable), sampling, full_batches)
    if sampling is None:
        check_batch_size(gradients, batch_size, member)

    # 2. Plan which rows each model sees in which step, and what changes with time.
    ids = tuple(range(len(member))) if model_ids is None else tuple(int(each) for each in model_ids)
    timetable = tabulate(schedules, epochs)
    plan = batch_plan.BatchPlan(member, ids, (0,) * len(ids), epochs, batch_size, sampling, timetable)
    batch_plan.check(plan)

    # 3. Trace one model and one step: do inputs, outputs, labels, gradients and schedules fit each other?
    gradients = gradients or _gradients(model, loss, trainable)
    rule = UpdateRule(model, gradients, optimizer or named_optimizer(), trainable)
    first = first_row(data)
    shapes, batch = jax.eval_shape(model.init, jax.random.key(0), first), batch_shapes(plan.slots, pool)
    if init is not None:
        check_init(init, shapes, len(ids))
    check_frozen(shapes, trainable, init)
    check_fits(model, gradients, shapes, batch, Batch(data.x, data.y, None, extra))
    plan = plan._replace(schedules=for_model(timetable, model, shapes, batch.x), ciphers=seeds.needs_cipher(gradients))
    check_hooks(model, shapes, batch.x)
    check_penalty(gradients, shapes, batch)
    check_unread(gradients, model, shapes, batch.x, is_fresh=init is None)

    # 4. Lay the models out on the devices, and compile the epoch of a group of them.
    arrangement = layout.choose(model, shapes, batch.x, len(ids), pads=are_rows_apart(gradients))
    arrangement = with_form(arrangement, rule, Example(shapes, batch, plan.ciphers), folder)
    groups = DeviceGroups(arrangement, len(ids))
    run_epoch = by_segments(compiled_epoch(rule, arrangement, plan.skips), groups.place_epoch, plan, arrangement)

    # 5. Start: the seed, the states, and for a private run seeds that no other run shares.
    private = seeds.is_private(gradients, shapes, batch)
    passed = {"seed": seed, "folder": folder, "observe": observe, "init": init, "noise": private or None}.items()
    hosts.check_same("the draw of a seed", {f"{name} is passed": value is not None for name, value in passed})
    root = seeds.resolve(seed, private, folder, gradients)
    start = Start(rule, first, root, ids, init)
    is_identified = private or folder is not None or hosts.count() > 1  # by a digest of the states, copied back for it
    run = Run(rule, loss, plan, start.on_host(groups) if is_identified else start.shapes, pool, arrangement.form)
    identity = run_identity.settings(run) if is_identified else {}
    model_seeds = run_identity.private_seeds(root, identity, run) if private else (root,) * len(ids)
    plan = plan._replace(seeds=model_seeds)
    described = functools.partial(run_identity.record, identity, seeds.described(seed, private), run)
    hosts.check_same("training", described() if hosts.count() > 1 else {})

    # 6. Restore what the folder holds of this run; another one is not continued.
    history = np.zeros((2, epochs, len(ids)), np.float32)  # loss, metric
    metric = metric_of(loss) if getattr(gradients, "loss", None) else Metric("metric", loss.apply)
    with RunLog(folder, described, CHECKPOINT_INTERVAL_SECONDS, metric.name) as log:
        done, restored, history = log.restore(start.shapes, history)
        begin = functools.partial(groups.split, restored) if done else functools.partial(start.placed, groups)
        run = run._replace(plan=plan, start=start.shapes)  # the states on the host are no longer needed
        trainer = Trainer(run, groups, run_epoch, feed_of(pool, plan, groups), begin, done)

        # 7. Train, portion by portion and group by group.
        trainer.train(history, metric, log, Watch(label, observe))

    # 8. Finish: check the last update, which no loss has seen.
    variables = trainer.variables()
    check_trained(variables, ids, epochs, plan.steps, history[0, -1])
    return Fit(variables, history[0], {metric.name: history[1]})


def fit(model: Model, data: Examples, member: Array | None = None, **options) -> Fit:
    """Trains one model; see `fit_ensemble` for the options.

    Args:
      model: the architecture.
      data: the pool of examples, n rows.
      member: bool [n], who is trained on; None: all.
      **options: of `fit_ensemble`; `init` and `observe` without the axis of models, `model_id` for `model_ids`.

    Returns:
      A Fit without the axis of models.

    Raises:
      ValueError, NotFinite, OSError: see `fit_ensemble`.

    >>> from gecko_jax import losses, models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0.5, 1.0, 0.5, 1.0], np.float32), np.arange(4))
    >>> fitted = fit(models.create("mlp", 1, hidden=()), data, loss=losses.squared_error(), epochs=2)
    >>> fitted.loss.shape, sorted(fitted.metrics)
    ((2,), ['rmse'])
    """
    rows = row_count("data", examples_of(data))
    as_members(member := np.ones(rows, bool) if member is None else checks.unmasked("member", member))
    member = np.asarray(member)
    checks.shape("member", member, (rows,))
    if options.get("init") is not None:
        options["init"] = jax.tree.map(lambda leaf: np.asarray(leaf)[None], options["init"])
    if callable(observe := options.get("observe")):
        options["observe"] = lambda epoch, variables: observe(epoch, take(variables, 0))
    trained = fit_ensemble(model, data, member[None], model_ids=[options.pop("model_id", 0)], **options)
    return Fit(take(trained.variables, 0), trained.loss[:, 0], {k: v[:, 0] for k, v in trained.metrics.items()})


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, loss: Loss, trainable: tuple[str, ...] | None) -> GradFn:
    """Returns one GradFn for a model and a loss, because repeated fits share the compiled program of the object."""
    return batch_gradients(model, loss, trainable)
