"""How long a multi-exit model takes to answer each record, measured: what an attacker sees from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.models.early_exit import answers, exits_of, until_exit
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Model, Variables

ROWS_PER_CALL = 500


def exit_times(model: Model, variables: Variables, x: Any, threshold: float, repeats: int = 5) -> np.ndarray:
    """Measures the seconds that each record takes on this machine, one record at a time.

    A record runs the part of the network up to the exit that answers it, and that part alone. The shortest of several
    runs counts, because what else the machine does only adds time.

    Args:
      model: of `models.multi_exit`, quantized or not.
      variables: its variables.
      x: records [n, ...].
      threshold: see `models.answers`.
      repeats: runs of each record, in passes over all records.

    Returns:
      float64 [n], seconds.

    Raises:
      ValueError: no records, repeats below 1, a model without exits.

    >>> from gecko_jax import models
    >>> model, x = models.multi_exit(models.create("mlp", 3, hidden=(8,)), "block"), np.ones((2, 4), np.float32)
    >>> times = exit_times(model, model.init(jax.random.key(0), x), x, threshold=0.9, repeats=1)
    >>> times.shape, bool((times > 0).all())
    ((2,), True)
    """
    checks.integer("repeats", repeats, 1)
    rows, variables = row_count("x", x), jax.device_put(variables)

    @surroundings.jit
    def exit_of(variables, x):
        return answers(exits_of(model.apply(variables, x)[0]), threshold).exit

    numbers = by_blocks(lambda i: exit_of(variables, take(x, i)), rows, min(ROWS_PER_CALL, rows), full=True)
    records = [jax.device_put(take(x, slice(i, i + 1))) for i in range(rows)]
    programs = {number: _program(model, variables, records[0], number) for number in np.unique(numbers).tolist()}
    times = np.full(rows, np.inf)
    for number, program in programs.items():  # compiled before anything is timed
        jax.block_until_ready(program(variables, records[int(np.argmax(numbers == number))]))
    for _ in range(repeats):
        for i, number in enumerate(numbers.tolist()):
            start = time.perf_counter()
            jax.block_until_ready(programs[number](variables, records[i]))
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def _program(model: Model, variables: Variables, x: Any, number: int) -> Callable[[Variables, Any], Any]:
    part = until_exit(model, variables, x, number)
    return surroundings.jit(lambda variables, x: exits_of(part.apply(variables, x)[0]))
