"""The rows that a run gathers its batches from, and the extras that a loss reads beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.training.predict import count_rows
from gecko_jax.training.stored import stored
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Batch, Dataset, Examples, Loss


class Data(NamedTuple):
    """Arrays that a step gathers its rows from.

    Attributes:
      x, y: pytrees with a leading axis [n, ...].
      extra: `Batch.extra` of all rows that all models share, or None.
      own_extra: that of one model, or with a leading axis [m, n, ...] of several; None unless it is declared to be each
        model's own. At most one of the two is given.
    """

    x: Any
    y: Any
    extra: Any = None
    own_extra: Any = None

    def of(self, model: int) -> Data:
        """Returns the data of one of several models."""
        return self._replace(own_extra=take(self.own_extra, model))

    @property
    def extras(self) -> Any:
        """Returns what the loss of one model reads, shared or its own."""
        return self.extra if self.own_extra is None else self.own_extra


def examples_of(data: Examples, purpose: str = "train on", split: str = "train") -> Examples:
    """Returns the rows; raises ValueError for what has no rows, and for a Dataset, which has two kinds of them."""
    if isinstance(data, Dataset):
        raise ValueError(f"data is the Dataset {data.name!r}; expected rows to {purpose}. Pass data.{split}.")
    if not hasattr(data, "x") or not hasattr(data, "y"):
        raise ValueError(f"data is a {type(data).__name__}; expected rows to {purpose}: Examples(x, y).")
    return data


def first_row(data: Examples) -> Any:
    """Returns the inputs of the first example with their leading axis, from which shapes are traced."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), examples_of(data).x)


def pool_of(data: Examples, member: np.ndarray, extra: Mapping[str, Any] | None, per_model: bool) -> Data:
    """Returns the rows of a run as host arrays, those of x where they are stored.

    Args:
      data, extra: see `fit_ensemble`.
      member: [m, n].
      per_model: whether `extra` has a leading axis of the m models.

    Raises:
      ValueError: rows of different numbers, extras that are not a mapping or do not have the declared axes.
    """
    n = count_rows("data", data)
    checks.shape("member", member, (None, n))
    if extra is not None and not isinstance(extra, Mapping):
        raise ValueError(f'extra is a {type(extra).__name__}; expected a mapping, such as {{"teacher": logits}}.')
    lead = (len(member), n) if per_model else (n,)
    for name, leaf in named_leaves(extra):
        if np.shape(leaf)[: len(lead)] != lead:
            expected = "(models, examples, ...)" if per_model else "(examples, ...)"
            raise ValueError(
                f"extra[{name!r}] has shape {np.shape(leaf)}; expected {lead} and what one example has, {expected}, "
                f"because extra_per_model={per_model} (of training.distill: teacher_per_model)."
            )
    extra = jax.tree.map(np.asarray, extra)
    return Data(jax.tree.map(stored, data.x), data.y, *((None, extra) if per_model else (extra, None)))


def check_reads(loss: Loss, extra: Mapping[str, Any] | None, known: bool = True) -> None:
    """Raises ValueError unless `extra` holds the keys that the loss reads, and no others.

    Args:
      loss: says what it reads.
      extra: as `fit` takes it.
      known: whether `loss` is what is trained on; False if a user's gradients have a loss of their own.
    """
    if known and (unread := sorted(set(extra or {}) - set(loss.reads))):
        raise ValueError(
            f"extra[{unread[0]!r}] would change nothing, because loss {loss.name!r} reads "
            f"{checks.listed(loss.reads) or 'no extras'}. Leave it out, or declare it: a loss of your own "
            "names what it reads in Loss.reads."
        )
    for name in loss.reads:
        if name not in (extra or {}):
            way = ", or call training.distill(..., teacher=logits)" if name == "teacher" else ""
            raise ValueError(
                f"loss {loss.name!r} reads extra[{name!r}]: pass extra={{{name!r}: one row for each example}}{way}."
            )


def batch_shapes(slots: int, pool: Data) -> Batch:
    """Returns one step's batch of `slots` rows, as shapes."""

    def shape(row: Any) -> Any:  # in JAX's type: int64 labels get to a step as int32
        return jax.ShapeDtypeStruct((slots, *row.shape), jax.dtypes.canonicalize_dtype(row.dtype))

    one = pool.of(0)
    x, y, extra = jax.tree.map(lambda leaf: shape(np.asarray(leaf[0])), (one.x, one.y, one.extras))
    return Batch(x, y, shape(np.float32(0)), extra)
