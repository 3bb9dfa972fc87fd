"""Outputs of trained models on many rows, in batches of one static shape, always in evaluation mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gecko_jax import surroundings
from gecko_jax.checks import unmasked
from gecko_jax.training.stored import in_blocks, is_stored, stored
from gecko_jax.trees import by_blocks, named_leaves, outputs_by_row, row_count, take
from gecko_jax.types import Model, Variables

ROWS_PER_CALL = 500


@functools.lru_cache(maxsize=128)
def _forward(model: Model) -> Callable[[Variables, Any], Any]:
    return surroundings.jit(
        lambda variables, x: outputs_by_row(model.apply(variables, x)[0], len(jax.tree.leaves(x)[0]))
    )


def predict(model: Model, variables: Variables, x: Any, batch_size: int = ROWS_PER_CALL) -> Any:
    """Returns one model's outputs.

    Args:
      model, variables: a trained model.
      x: inputs, a pytree with one leading axis [n, ...], n >= 1.
      batch_size: rows a call.

    Returns:
      The model's outputs on the host, a pytree with one leading axis: float32 logits [n, classes] of a classifier.

    Raises:
      ValueError: leaves of x with different numbers of rows; a model whose outputs do not have one row for each input.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((4, 3), np.float32)
    >>> predict(model, model.init(jax.random.key(0), x), x).shape
    (4, 2)
    """
    check_entries("x", x)
    n, x = count_rows("x", x), jax.tree.map(np.asarray, x)
    forward, variables = _forward(model), jax.device_put(variables)
    return by_blocks(lambda rows: forward(variables, take(x, rows)), n, min(batch_size, n), full=True)


def predict_ensemble(model: Model, variables: Variables, x: Any, batch_size: int = ROWS_PER_CALL) -> Any:
    """Returns the outputs of m models.

    Args:
      model: the architecture that they share.
      variables: trained variables with a leading axis [m].
      x, batch_size: see `predict`.

    Returns:
      The models' outputs on the host, a pytree [m, n, ...].

    Raises:
      ValueError: see `predict`.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((4, 3), np.float32)
    >>> several = jax.vmap(lambda key: model.init(key, x))(jax.random.split(jax.random.key(0), 5))
    >>> predict_ensemble(model, several, x).shape
    (5, 4, 2)
    """
    models = row_count("variables", variables)
    each = [predict(model, take(variables, i), x, batch_size) for i in range(models)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def count_rows(name: str, tree: Any) -> int:
    """Returns the number of rows of a pytree; raises ValueError, with this name, if it is 0."""
    if (rows := row_count(name, tree)) == 0:
        raise ValueError(f"{name} is empty; at least one row is needed.")
    return rows


def check_entries(name: str, tree: Any) -> None:
    """Raises ValueError for entries that JAX would take for others, because nothing would say so afterwards.

    Args:
      name: the argument's name, which the message shows.
      tree: a pytree of host arrays: no entry hides behind a mask, and integers fit JAX's type (32 bits, unless
        `jax_enable_x64` is on), to which it cuts them: 2**32 + 1 is 1.
    """
    for path, leaf in named_leaves(tree):
        where = f"{name}[{path!r}]" if path else name
        array = leaf if is_stored(leaf) else np.asarray(unmasked(where, leaf))
        dtype = np.dtype(array.dtype)
        cut_to = jax.dtypes.canonicalize_dtype(dtype) if dtype.kind in "iu" else dtype
        if cut_to == dtype:
            continue
        bounds = np.iinfo(cut_to)
        for (block,) in in_blocks(stored(array)) if is_stored(array) else [(array,)]:
            if block.size and (block.min() < bounds.min or block.max() > bounds.max):
                raise ValueError(
                    f"{where} holds {block.min()}..{block.max()}, which JAX cuts to {cut_to}; expected {bounds.min} to "
                    f"{bounds.max}. Number tokens and ids from 0, or pass quantities as float32."
                )
