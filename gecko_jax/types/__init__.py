"""Types that rooms share: each is a NamedTuple of arrays and pure functions, and nothing else.

Left of `Variables` all is a function of (model, gradients, indices, key); right of `Signals` all is a function of two
arrays, values[m, n] and member[m, n]. The two halves never meet.

JAX begins at `Model`: `Dataset`, `Examples` and memberships are host (NumPy) arrays; an `Estimate` holds Python floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.types.arrays import Array, Tree, Variables
from gecko_jax.types.parts import AdaptiveClipping, Clipping, Codes, Quantizer, Rule

__all__ = [
    "AdaptiveClipping",
    "Array",
    "Batch",
    "Clipping",
    "Codes",
    "Dataset",
    "Estimate",
    "Examples",
    "Loss",
    "Metric",
    "Model",
    "Quantizer",
    "Rule",
    "Signals",
    "StepMetrics",
    "Tree",
    "Variables",
]


class Examples(NamedTuple("_Rows", [("x", Tree), ("y", Tree), ("id", Array)])):
    """Rows of a data set, on the host: Examples(x, y), or Examples(x, y, id).

    Attributes:
      x: inputs, a pytree with one leading axis [n, ...]: float32 images [n, height, width, channels] in 0..1 or
        features [n, d], int32 tokens [n, t], or a mapping of several such arrays.
      y: what the loss compares outputs with, a pytree with the same leading axis: int32 classes [n] in
        0..num_classes-1, float32 numbers [n] or [n, k], several 0/1 labels [n, k], int32 tokens [n, t].
      id: names of the rows [n], int64, unique; membership is keyed by them, so that a reordered file keeps its members.
        0..n-1, the places of the rows, if absent.

    >>> Examples(np.ones((3, 2)), np.array([0, 1, 1])).id
    array([0, 1, 2])
    """

    __slots__ = ()

    def __new__(cls, x: Tree, y: Tree, id: Array | None = None) -> Examples:
        """Numbers the rows if they have no ids."""
        if id is None and (count := _row_count(y)) is not None:
            id = np.arange(count, dtype=np.int64)
        ids: Any = id
        return super().__new__(cls, x, y, ids)


def _row_count(tree: Any) -> int | None:
    """Length of the first leaf; None if it is not an array, as in a tree that JAX builds from other things."""
    leaf: Any = tree
    while isinstance(leaf, (Mapping, tuple)) and leaf:
        leaf = next(iter(leaf.values() if isinstance(leaf, Mapping) else leaf))
    shape = np.shape(leaf)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return shape[0] if shape else None


class Dataset(NamedTuple):
    """A named data set.

    Attributes:
      name: what reports call it.
      train: the pool that members are drawn from.
      test: rows that are never trained on.
      num_classes: how many classes y numbers; None for other labels (numbers, several labels, sequences).
    """

    name: str
    train: Examples
    test: Examples
    num_classes: int | None


class Batch(NamedTuple):
    """Rows that a step trains on. One example is the same tuple without the leading axis.

    Attributes:
      x: inputs, a pytree with one leading axis [b, ...]; see `Examples`.
      y: labels, numbers or sequences, a pytree with the same leading axis.
      weight: [b] float32, 1 for a real row and 0 for padding; other values are refused. None: all rows are real.
      extra: what a loss reads beside x and y, {name: pytree with the same leading axis}, or None; see `Loss.reads`.
    """

    x: Tree
    y: Tree
    weight: Array | None
    extra: Mapping[str, Any] | None = None


class Metric(NamedTuple):
    """A figure that people read beside the loss: summary(mean over examples of apply(outputs, example)).

    Attributes:
      name: "accuracy", "rmse", "token_accuracy", ...
      apply: (outputs of ONE example, example) -> scalar, or numbers [p] whose means `summary` combines, as for R2.
      summary: (means, a NumPy scalar or [p]) -> float. The default returns the mean itself.
    """

    name: str
    apply: Callable[[Any, Batch], Array]
    summary: Callable[[Array], float] = float


class Loss(NamedTuple):
    """The loss of one example; `jax.vmap` makes it that of a batch.

    Attributes:
      name: as listed in `gecko_jax.losses`.
      apply: (outputs of ONE example, any pytree; example: Batch without its leading axis) -> scalar. It raises
        ValueError, when it is traced, for outputs and labels of another shape or dtype than it reads.
      metric: what training and evaluation report beside the loss. None: the mean loss.
      reads: keys of `example.extra` that it needs, such as ("teacher",).
      check: (outputs of one example as shapes, all rows: Batch of host arrays) -> None. It raises ValueError for labels
        whose values the outputs cannot express. None if any value is allowed.
    """

    name: str
    apply: Callable[[Any, Batch], Array]
    metric: Metric | None = None
    reads: tuple[str, ...] = ()
    check: Callable[[Any, Batch], None] | None = None


class StepMetrics(NamedTuple):
    """What a step of training reports, private or not. None of it is private.

    Attributes:
      loss: mean loss over the batch's real rows.
      metric: sum of `Metric.apply` over them, a scalar or [p]; the sum of the losses if the loss has no metric.
      count: how many there are.
      updates: collections that change without a gradient, such as BatchNorm's statistics.
    """

    loss: Array
    metric: Array
    count: Array
    updates: Variables


class Model(NamedTuple):
    """A network as two pure functions.

    Attributes:
      init: (key, x) -> variables, for one batch of inputs x [b, ...].
      apply: (variables, x, *, key=None, train=False) -> (logits [b, classes], updates). `updates` are the collections
        that training changes without a gradient (BatchNorm's statistics): {} unless train.
      rules: the quantization in force, first match first; () for a float model.
      skipped: (variables, x) -> paths of the layers that are left in float (the first and the last); None for none.
      weights: (variables, x) -> {name of a parameter: the quantizer of that weight as it is stored}; None if no rule is
        in force.
      after_update: functions (variables, x) -> variables that training calls after each update, the first first:
        projections, masks, running averages.
      rates: functions (variables, x) -> a factor on each parameter's learning rate, a tree shaped like params; the
        factors of several are multiplied.
      blueprint: how it is built, from which `models.load` builds it again: (builder, its arguments as JSON) for each
        step; () for a model that was put together by hand.
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[Array, Variables]]
    rules: tuple[Rule, ...] = ()
    skipped: Callable[[Variables, Array], frozenset[str]] | None = None
    weights: Callable[[Variables, Array], Mapping[str, Quantizer]] | None = None
    after_update: tuple[Callable[[Variables, Array], Variables], ...] = ()
    rates: tuple[Callable[[Variables, Array], Variables], ...] = ()
    blueprint: tuple[tuple[str, str], ...] = ()


class Signals(NamedTuple):
    """One signal of m shadow models and of the target on n records, and who was in which shadow.

    Attributes:
      values: [m, n] float, the signal of each shadow on each record. m may be 0.
      member: [m, n] bool, whether the record was in the shadow's training set.
      target: [n] float, the target's signal.
      population: (values [m, z], target [z]), the same signal of the same models on z other records, which none of them
        was trained on; None if absent. RMIA compares with it.

    A signal of several numbers a record has further axes behind n and z.
    """

    values: np.ndarray
    member: np.ndarray
    target: np.ndarray
    population: tuple[np.ndarray, np.ndarray] | None = None


class Estimate(NamedTuple):
    """A figure with its interval and its kind.

    Attributes:
      value: the figure (a mean over seeds, or a proportion).
      low, high: a 95 % interval, or None where the figure has none (a count).
      kind: "measured", "counted" or "modeled".
      unit: "" for a pure number, else "%", "B", "J", "s", ...
      n: how many seeds, runs or records the interval comes from, or None.
    """

    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "measured"
    unit: str = ""
    n: int | None = None

    def map(self, function: Callable[[float], float]) -> Estimate:
        """Applies an increasing function to the value and to the ends of its interval, if it has one.

        >>> Estimate(0.75, 0.5, 1.0).map(lambda accuracy: 2 * accuracy - 1)[:3]
        (0.5, 0.0, 1.0)
        """
        low, high = (None if end is None else function(end) for end in (self.low, self.high))
        return self._replace(value=function(self.value), low=low, high=high)
