"""The work of a study's rows: which network is trained how often, on how many rows a step, and the operations of that.

A study's `workload(config)` lists the training of all its rows as `Work`, from which `estimates` tells how long a run
takes before it starts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import losses, privacy, programs, training
from gecko_jax.costs.primitives import COUNTS
from gecko_jax.trees import take, trainable_patterns
from gecko_jax.types import AdaptiveClipping, Batch, Clipping, Examples, Loss, Model

UPDATE_OPERATIONS = 10  # of a step for each parameter: Adam's moments and quotient, or noise


class Work(NamedTuple):
    """The training of one row.

    Attributes:
      name: of the row.
      model: the network that is trained.
      like: an example or more, with their leading axis; its first is the only one that is read.
      models: how many are trained.
      steps: of one model, in all.
      batch_size: rows of a step; of a private row the expected ones.
      loss: per-example loss.
      clipping: the rule of a private row; None without privacy.
      extra: what the loss reads beside x and y: {name: shape of one example's}.
      trainable: see `training.fit_ensemble`.
      fits: how many such trainings the row takes.
      kind: rows of the same kind have the same operations a step, counted once; None: a row of its own kind.
    """

    name: str
    model: Model
    like: Examples
    models: int
    steps: int
    batch_size: int
    loss: Loss = losses.cross_entropy()
    clipping: Clipping | AdaptiveClipping | None = None
    extra: Mapping[str, tuple[int, ...]] = {}
    trainable: tuple[str, ...] | None = None
    fits: float = 1.0
    kind: Any = None

    @property
    def repeats(self) -> float:
        """Returns how many steps of one model the row takes."""
        return self.steps * self.models * self.fits


def steps_of(members: int, batch_size: int, epochs: int) -> int:
    """Returns the steps of passes over the members, the last batch of a pass filled up.

    >>> steps_of(1000, 64, 3)
    48
    """
    return epochs * max(1, math.ceil(members / batch_size))


def private_steps(members: int, batch_size: int, epochs: int) -> int:
    """Returns the steps of `privacy.private_training`.

    >>> private_steps(1000, 64, 3)
    48
    """
    return epochs * max(1, round(members / batch_size))


def gradients_of(work: Work, rows: int, microbatch: int | None = None) -> tuple[Model, Any]:
    """Returns the network as it is trained, and its gradient function, as training takes them.

    Args:
      work: the row.
      rows: of a step; of a private row the expected ones.
      microbatch: of a private row, see `privacy.clipped_sum`; None: what the library chooses here.
    """
    trainable = trainable_patterns(work.trainable)
    if work.clipping is None:
        return work.model, training.batch_gradients(work.model, work.loss, trainable)
    model = work.model
    options: dict[str, Any] = {"microbatch": microbatch}
    if isinstance(work.clipping, AdaptiveClipping):
        model, options["count_noise"] = privacy.with_threshold(model, work.clipping), rows / 20
    of_one = privacy.example_loss(model, work.loss)
    return model, privacy.private_gradients(of_one, work.clipping, 1.0, rows, trainable=trainable, **options)


def step_operations(work: Work) -> float:
    """Counts the floating-point operations of one model's step: two for each multiply-accumulate, ten a parameter.

    The gradient function's own program is read, so that the norms and weighted sums of private training count. The
    rows are the batch's; the padding of Poisson batches does not count, and neither does elementwise work on
    activations.

    Raises:
      ValueError: a network with products in a loop that ends on a condition.
    """
    # All rows at once: a loop over microbatches ends at the last real row, and has no turns that could be counted.
    model, gradients = gradients_of(work, work.batch_size, microbatch=work.batch_size)
    one = take((work.like.x, work.like.y), slice(0, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), one[0])

    def shape(row: Any) -> jax.ShapeDtypeStruct:
        row = np.asarray(row)
        return jax.ShapeDtypeStruct((work.batch_size, *row.shape[1:]), jax.dtypes.canonicalize_dtype(row.dtype))

    x, y = jax.tree.map(shape, one)
    extra = {name: jax.ShapeDtypeStruct((work.batch_size, *each), np.float32) for name, each in work.extra.items()}
    weight: Any = jax.ShapeDtypeStruct((work.batch_size,), np.float32)
    batch = Batch(x, y, weight, extra or None)
    program, _ = programs.trace(gradients, variables, batch, jax.random.key(0))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return 2.0 * _macs(program) + UPDATE_OPERATIONS * parameters


def _macs(program: programs.Program) -> float:
    """Counts the multiply-accumulates of a program."""
    total = 0.0
    for step in program.steps:
        if step.name in COUNTS:
            left, right = (_shape(program, each) for each in step.inputs[:2])
            total += step.repeats * COUNTS[step.name](step, left, right)
        elif step.bodies:
            inner = [_macs(body) for body in step.bodies]
            if step.name == "while" and any(inner):
                raise ValueError(
                    "operations cannot be counted: the network has products in a loop that ends on a condition, whose "
                    "turns are not known before it runs. Use jax.lax.scan, or run the study without an estimate."
                )
            turns = step.params["length"] if step.name == "scan" else 1
            total += step.repeats * turns * (max(inner) if step.name == "cond" else sum(inner))
    return total


def _shape(program: programs.Program, value: int | programs.Constant) -> tuple[int, ...]:
    return np.shape(value.value) if isinstance(value, programs.Constant) else program.avals[value].shape


def operations(works: Iterable[Work]) -> list[float]:
    """Counts the operations of a step of each row, rows of one kind once."""
    counted: dict[Any, float] = {}
    result = []
    for index, work in enumerate(works):
        kind = (index if work.kind is None else (work.kind,), work.batch_size)
        if kind not in counted:
            counted[kind] = step_operations(work)
        result.append(counted[kind])
    return result


@functools.cache
def device_name() -> str:
    """Returns the name of the devices that a run here trains on, such as "2 x NVIDIA H100"."""
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind}"
