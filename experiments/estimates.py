"""How long the training of a study takes, before it starts: steps times a timed step, on this device.

The most expensive rows are timed, by the library's own `training.fit_ensemble` on made rows of the study's shapes; the
others are scaled from a timed row by their counted operations, and say so. A step that would take long here is timed
with fewer models and rows, and scaled likewise. Everything is modeled: attacks, measurements, accounting and
compilation come on top.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.work import Work, device_name, gradients_of, operations
from gecko_jax import privacy, runtime, training
from gecko_jax.text_tables import aligned
from gecko_jax.types import Estimate, Examples

SECONDS_OF_TIMING = 20.0  # after which no further row is timed
SECONDS_PER_MEASUREMENT = 0.5  # of the steps that are timed, at this device's speed in matrix products
MAX_MODELS_TIMED_ON_A_CPU = 4
MAX_STEPS_TIMED = 64
MAX_POOL_BYTES = 128_000_000
SPEED_SIDE = 1024  # of the matrices that tell a device's speed
# A card that nobody has timed yet: operations a second that small networks reach, and what a step takes at least.
CARD_OPERATIONS_PER_SECOND, CARD_SECONDS_PER_STEP = 5e12, 2.5e-4


class Row(NamedTuple):
    """What a row takes.

    Attributes:
      work: the row.
      operations: of one model's step.
      seconds: of the row on this device, modeled.
      basis: "timed", or "scaled from" and the name of a timed row.
    """

    work: Work
    operations: float
    seconds: Estimate
    basis: str


class Timed(NamedTuple):
    """A step that was timed: of how many models and rows, its seconds, and the operations of all its models."""

    models: int
    rows: int
    seconds: float
    operations: float

    @property
    def speed(self) -> float:
        """Returns operations a second."""
        return self.operations / self.seconds


def estimate(
    works: Iterable[Work],
    seconds: float = SECONDS_OF_TIMING,
    time_step: Callable[[Work, float], Timed] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Returns what each row takes on this device.

    Args:
      works: the rows.
      seconds: time after which no further row is timed; the most expensive one always is.
      time_step: (row, operations of one model's step) -> its timed step; None: `timed_step`.
      clock: returns seconds.

    Raises:
      ValueError: no rows.
    """
    works = list(works)
    if not works:
        raise ValueError("The settings train nothing, so that there is nothing to estimate. Name rows to train.")
    counts, time_step = operations(works), time_step or timed_step
    totals = [work.repeats * count for work, count in zip(works, counts, strict=True)]
    timed: dict[int, Timed] = {}
    start = clock()
    for index in _order(works, totals):
        if timed and clock() - start > seconds:
            break
        timed[index] = time_step(works[index], counts[index])
    rows = []
    for index, (work, count) in enumerate(zip(works, counts, strict=True)):
        source = index if index in timed else _nearest(works, counts, index, timed)
        value = Estimate(totals[index] / timed[source].speed, kind="modeled", unit="s")
        rows.append(Row(work, count, value, "timed" if source == index else f"scaled from {works[source].name}"))
    return rows


def _order(works: Sequence[Work], totals: Sequence[float]) -> list[int]:
    """Returns the rows from the most expensive to the least, the first of each kind before the others."""
    kinds: set[Any] = set()
    first, others = [], []
    for index in sorted(range(len(works)), key=lambda index: -totals[index]):
        kind = works[index].kind
        (others if kind is not None and kind in kinds else first).append(index)
        kinds.add(kind)
    return first + others


def _nearest(works: Sequence[Work], counts: Sequence[float], index: int, timed: dict[int, Timed]) -> int:
    """Returns the timed row that another is scaled from: of its kind, or else private as it is, of a similar step."""

    def distance(other: int) -> tuple[bool, bool, float]:
        same_kind = works[other].kind is not None and works[other].kind == works[index].kind
        same_privacy = (works[other].clipping is None) == (works[index].clipping is None)
        return not same_kind, not same_privacy, abs(math.log(counts[other] / counts[index]))

    return min(timed, key=distance)


def timed_step(work: Work, count: float) -> Timed:
    """Times a step of a row, of as many models and rows as this device computes in a moment.

    Two trainings of different length differ by steps alone: what both begin and end with is subtracted.

    Args:
      work: the row.
      count: operations of one model's step.
    """
    budget = _device_speed() * SECONDS_PER_MEASUREMENT
    models, rows = work.models, work.batch_size
    if jax.default_backend() == "cpu":
        models = min(models, MAX_MODELS_TIMED_ON_A_CPU)
    models = max(1, min(models, int(budget / (2 * count))))
    while models == 1 and rows > 8 and 2 * count * rows / work.batch_size > budget:
        rows = max(8, rows // 2)
    done = models * count * rows / work.batch_size
    bytes_of_row = sum(np.asarray(leaf[0]).nbytes for leaf in jax.tree.leaves(work.like.x))
    fitting = MAX_POOL_BYTES // max(1, bytes_of_row * rows)
    steps = int(min(MAX_STEPS_TIMED, max(2, budget / done), max(2, fitting)))
    fit = _trainer(work, models, rows, steps)
    fit(1)  # compiles
    fit(3)
    short, long = (min(_elapsed(fit, epochs) for _ in range(2)) for epochs in (1, 3))
    return Timed(models, rows, max(long - short, 0.05 * long) / (2 * steps), done)


def _trainer(work: Work, models: int, rows: int, steps: int) -> Callable[[int], Any]:
    """Returns epochs -> a fit of made rows, of `steps` steps an epoch."""
    n = rows * steps
    model, gradients = gradients_of(work, rows)

    def repeated(leaf: Any) -> np.ndarray:
        return np.repeat(np.asarray(leaf[:1]), n, axis=0)

    x, y = jax.tree.map(repeated, (work.like.x, work.like.y))
    extra = {name: np.zeros((n, *shape), np.float32) for name, shape in work.extra.items()}
    options: dict[str, Any] = dict(
        gradients=gradients,
        optimizer=training.optimizer("adam", 1e-6),  # so small a rate that no made row lets the loss run away
        extra=extra or None,
        seed=0,
    )
    sampling = None if work.clipping is None else privacy.poisson(n, rows, steps)

    def fit(epochs: int) -> Any:
        drawn: dict[str, Any] = {} if sampling is None else {"sampling": sampling._replace(steps=steps * epochs)}
        return training.fit_ensemble(
            model, Examples(x, y, np.arange(n)), np.ones((models, n), bool), epochs=epochs, batch_size=rows,
            **options, **drawn,
        )  # fmt: skip

    return fit


def _elapsed(fit: Callable[[int], Any], epochs: int) -> float:
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


def _device_speed() -> float:
    """Returns the operations a second of a large matrix product on the default device."""
    x = jnp.ones((SPEED_SIDE, SPEED_SIDE), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    start = time.perf_counter()
    product(x).block_until_ready()
    return 2.0 * SPEED_SIDE**3 / (time.perf_counter() - start)


def card_seconds(work: Work, count: float) -> float:
    """Returns what a row takes on one GPU at the stated throughput; the models of a row share their steps."""
    step = max(CARD_SECONDS_PER_STEP, work.models * count / CARD_OPERATIONS_PER_SECOND)
    return step * work.steps * work.fits


def table(rows: Sequence[Row]) -> str:
    """Returns the estimate as text: a line for each row, the total, and what it stands on."""
    heading = ("row", "how", "models", "steps", "TFLOP", "time, modeled", "one GPU, modeled")
    body = [
        (
            row.work.name,
            row.basis,
            f"{row.work.models:,}" + (f" x {row.work.fits:g}" if row.work.fits != 1 else ""),
            f"{row.work.steps:,}",
            f"{row.work.repeats * row.operations / 1e12:,.3g}",
            runtime.duration(row.seconds.value),
            runtime.duration(card_seconds(row.work, row.operations)),
        )
        for row in rows
    ]
    here = sum(row.seconds.value for row in rows)
    card = sum(card_seconds(row.work, row.operations) for row in rows)
    timed = sum(row.basis == "timed" for row in rows)
    lines = aligned([heading, *body], left=2)
    lines += [
        "",
        f"Training in all: {runtime.duration(here)} (modeled) on {device_name()}: steps times a timed step, {timed} of "
        f"{len(rows)} rows timed, the others scaled by counted operations.",
        f"One GPU: {runtime.duration(card)} (modeled), at a stated {CARD_OPERATIONS_PER_SECOND / 1e12:g} TFLOP/s and "
        f"at least {1000 * CARD_SECONDS_PER_STEP:g} ms a step.",
        "Of a run from its beginning. Attacks, measurements, accounting and compilation come on top.",
    ]
    return "\n".join(lines)
