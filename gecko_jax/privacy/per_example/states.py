"""Decides what a private step may keep of the state that a model's forward pass changes.

The traced program decides, not the layers' names: does a new value depend on the example, and is the old value ever
read? A power iteration on the weights (nn.SpectralNorm) depends on no example: it is carried from step to step. A value
that depends on the example and is only written (`sow`) belongs to that example: it is dropped. A statistic of the
examples that the model reads, now or in evaluation (nn.BatchNorm), is refused.
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
from flax.errors import FlaxError

from gecko_jax.programs import flow, trace
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.trees import map_named, named_leaves, shapes
from gecko_jax.types import Array, Model, Variables

EXAMPLE = "the example"
PARAMS = "params"
INTERMEDIATES, STATISTICS = "intermediates", "batch_stats"  # Flax's own names for what is sown, and for statistics


def check_states(model: Model, variables: Variables, x: Array, key: Array | None, updates: Variables) -> None:
    """Raises ValueError, with the layers' names, if `updates` hold statistics over the batch.

    Args:
      model, variables, x [1, ...], key: what gave `updates`, arrays or tracers.
      updates: of `model.apply` in training.
    """
    if _changed(variables, updates):
        _independent(model, variables, x, key)


class Statistics(ValueError):
    """A model whose layers keep statistics over the batch."""


# What most models take: images, a row of numbers, a row of tokens.
_TYPICAL = tuple(
    jax.ShapeDtypeStruct((1, *shape), dtype)
    for shape, dtype in [((28, 28, 1), "float32"), ((32, 32, 3), "float32"), ((64,), "float32"), ((16,), "int32")]
)


def refuse_statistics(model: Model, x: Any = None) -> None:
    """Raises ValueError if a model keeps statistics over the batch; nothing is computed.

    Args:
      model: any model.
      x: a batch of its inputs, or their shapes. None: images, a row of 64 numbers and a row of 16 tokens are tried. A
        model that takes none of them is not judged here, but when it is trained.
    """

    def forward(one, key):
        variables = model.init(key, one)
        outputs, updates = model.apply(variables, one, key=key, train=True)
        check_states(model, variables, one, key, updates)
        return outputs

    key = jax.eval_shape(lambda: jax.random.key(0))
    for rows in _TYPICAL if x is None else (x,):
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), shapes(rows))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a model warns of, it warns of when it is trained
                jax.eval_shape(forward, one, key)
            return
        except Statistics:
            raise
        except Exception:  # whatever it raises for inputs of another kind
            if x is not None:
                raise


def carried_states(model: Model, variables: Variables, x: Array, key: Array | None) -> Variables:
    """Returns the collections whose next values depend on parameters and on no example; {} for none.

    Args:
      model: any model.
      variables: its variables.
      x: one example with its leading axis, [1, ...]; any one will do.
      key: of the step.
    """
    if set(variables) <= {PARAMS}:
        return {}
    _, updates = model.apply(variables, x, key=key, train=True)
    if not _changed(variables, updates):
        return {}
    names = _independent(model, variables, x, key)
    before = dict(named_leaves(variables))
    new = {name: leaf for name, leaf in named_leaves(updates) if name in names and leaf is not before[name]}
    collections = {name.partition("/")[0] for name in new}
    old = {name: tree for name, tree in variables.items() if name in collections}
    return map_named(lambda name, leaf: new.get(name, leaf), old)


def _changed(variables: Variables, updates: Variables) -> bool:
    """Tells whether any leaf is another object: Flax mostly returns what a layer only reads as the same object."""
    before = dict(named_leaves(variables))
    return any(leaf is not before.get(name) for name, leaf in named_leaves(updates))


def _independent(model: Model, variables: Variables, x: Array, key: Array | None) -> set[str]:
    """Names the leaves whose new values do not depend on the example; refuses statistics."""
    of_logits, of_updates = _dependence(
        lambda variables, x, key: model.apply(variables, x, key=key, train=True), variables, x, key
    )
    old = {name for name, _ in named_leaves(variables)}
    depend = {name for name, labels in of_updates.items() if EXAMPLE in labels and name in old}
    depend = {name for name in depend if name.partition("/")[0] != INTERMEDIATES}
    if depend:
        read = of_logits | _read_in_evaluation(model, variables, x, key)
        _refuse({name for name in depend if name in read or name.partition("/")[0] == STATISTICS})
    return {name for name in of_updates if name in old and EXAMPLE not in of_updates[name]}


def _read_in_evaluation(model: Model, variables: Variables, x: Array, key: Array | None) -> frozenset:
    """Names the variables that the outputs depend on in evaluation; all of them if the model cannot be evaluated."""
    try:
        return _dependence(lambda variables, x, key: (model.apply(variables, x)[0], {}), variables, x, key)[0]
    except FlaxError:  # it would change a collection, such as a statistic, in evaluation as well
        return frozenset(name for name, _ in named_leaves(variables))


def _dependence(function: Any, variables: Variables, x: Array, key: Array | None) -> tuple[frozenset, dict]:
    """Returns what the outputs together, and each named update, depend on: names of variables, and EXAMPLE."""
    shapes = jax.tree.map(jax.typeof, (variables, x, key))
    program, (logits, updates) = trace(function, *shapes)
    labels = [frozenset({name}) for name, _ in named_leaves(variables)]
    labels += [frozenset({EXAMPLE})] * len(jax.tree.leaves(x)) + [frozenset()] * len(jax.tree.leaves(key))
    marks = flow(program, labels, lambda *sets: frozenset().union(*sets)).outputs
    count = len(jax.tree.leaves(logits))
    names = [name for name, _ in named_leaves(updates)]
    return frozenset().union(*marks[:count]), dict(zip(names, marks[count:], strict=True))


def _refuse(changed: set[str]) -> None:
    names = sorted({name.rpartition("/")[0].partition("/")[2] or name for name in changed})
    if names:
        collections = ", ".join(sorted({name.partition("/")[0] for name in changed}))
        if collections == RANGES:
            raise Statistics(
                f"rules: {names} measure the range of the batch's inputs, which no noise covers: the run would not be "
                "private, whatever its epsilon. Take ranges that training leaves alone, int8_input(decay=None), and "
                "calibrate them on public inputs before: models.calibrate(model, variables, public_x); or a range that "
                "is trained: lsq_plus_input(bits), pact(bits)."
            )
        raise Statistics(
            f"layers {names} keep statistics over the batch ({collections}): one example moves the gradients of all "
            "others, and clipping bounds nothing. Train with nn.GroupNorm or nn.LayerNorm instead: "
            'models.create(..., normalize="group"), or models.without_batch_norm(model) for any other model.'
        )
