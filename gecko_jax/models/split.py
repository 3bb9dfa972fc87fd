"""Split computing: the head of a network runs on a device, its tail on a server, which gets the activation between."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax import checks, programs
from gecko_jax.models.module_outputs import Reached, changed_outputs
from gecko_jax.models.multi_exit import EXITS
from gecko_jax.trees import named_leaves, row_count, shapes, take
from gecko_jax.types import Array, Model, Quantizer, Variables


class Split(NamedTuple):
    """A network in two parts, each a model with the variables of the whole network.

    Attributes:
      head: x [b, ...] -> the activation [b, ...] that is sent, of the values that the tail computes with.
      tail: the activation [b, ...] -> the network's outputs.
      sent_shape: shape of one example's activation.
      sent_bytes: bytes that one example sends, without a protocol's.
      device, server: names of the variables that the head and the tail read; a tied weight is in both.
    """

    head: Model
    tail: Model
    sent_shape: tuple[int, ...]
    sent_bytes: int
    device: tuple[str, ...]
    server: tuple[str, ...]


def split(model: Model, path: str, x: Any, quantizer: Quantizer | None = None) -> Split:
    """Splits a network behind one of its modules.

    tail(head(x)) computes what the network computes, in evaluation mode, but for the quantizer. The activation may tell
    the server more about a record than the outputs do: audit it (`signals.activation_profile`), because the server has
    both.

    Args:
      model: a trained model of Linen modules, quantized or not.
      path: of the module whose output is sent, in full, such as "block1".
      x: a batch of inputs [b, ...], of which only the first row's shapes and types matter.
      quantizer: of the activation, one that serves inputs and has no state, such as `quantizers.uniform(8,
        max_abs=4.0)`; None: the activation is sent in its own type.

    Returns:
      A Split.

    Raises:
      ValueError: no row; a path that no module has, a module that is called twice or runs inside nn.jit, nn.remat,
        nn.scan or nn.vmap, or whose output is not an array of floats [b, ...]; a network in which something else than
        this output reaches the layers behind it (a skip connection, an exit at this module or before it); a quantizer
        of weights, or one with a state.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(8, 4)), jnp.ones((5, 6))
    >>> parts, variables = split(model, "block1", x), model.init(jax.random.key(0), x)
    >>> sent = parts.head.apply(variables, x)[0]
    >>> sent.shape, parts.sent_bytes, parts.server
    ((5, 8), 32, ('params/dense2/bias', 'params/dense2/kernel', 'params/logits/bias', 'params/logits/kernel'))
    >>> bool((parts.tail.apply(variables, sent)[0] == model.apply(variables, x)[0]).all())
    True
    """
    checks.at_least("len(x)", row_count("x", x), 1)
    row = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes(take(x, slice(0, 1))))

    def head(variables, x, *, key=None, train=False):
        _refuse_training(train)

        def end(_, output):
            raise Reached(_coded(output, quantizer))

        try:
            with changed_outputs(path.__eq__, end):
                model.apply(variables, x, key=key)
        except Reached as reached:
            return reached.outputs, {}
        raise ValueError(f"path={path!r}: the model calls no module of this path on these inputs.")

    def tail(variables, sent, *, key=None, train=False):
        _refuse_training(train)
        rows = jax.tree.map(lambda leaf: jnp.zeros((len(sent), *leaf.shape[1:]), leaf.dtype), row)
        return _from(model, path, variables, sent, rows, key), {}

    variables = jax.eval_shape(model.init, jax.random.key(0), row)
    _check_once(model, path, variables, row)
    if quantizer is not None:
        _check_quantizer(quantizer)
    sent = jax.eval_shape(lambda variables, row: head(variables, row)[0], variables, row)
    read_by_head, _ = _readers(lambda variables, row: head(variables, row)[0], variables, row)
    read_by_tail, skips = _readers(
        lambda variables, rows, sent: _from(model, path, variables, sent, rows, None), variables, row, sent
    )
    if skips and EXITS in variables["params"]:
        raise ValueError(
            f"path={path!r}: exits of this multi-exit model read what is computed up to this module, which the tail "
            "would not get. Split before its first exit; or split the network that multi_exit was put on, with the "
            "variables without params['exits'], and let the device answer by models.until_exit."
        )
    if skips:
        raise ValueError(
            f"path={path!r}: the layers behind this module read the input, or something before it, by another way (a "
            "skip connection, an exit before it), which the tail would not get. Split behind a module that all of the "
            "computation passes through."
        )
    size = math.prod(sent.shape[1:])
    bits = quantizer.bits if quantizer else 8 * sent.dtype.itemsize
    return Split(
        model._replace(apply=head, blueprint=()),
        model._replace(apply=tail, blueprint=()),
        tuple(sent.shape[1:]),
        math.ceil(size * bits / 8),
        read_by_head,
        read_by_tail,
    )


def _from(model: Model, path: str, variables: Variables, sent: Array, rows: Any, key: Any) -> Any:
    """Returns the network's outputs with the activation in the place of the module's output."""
    with changed_outputs(path.__eq__, lambda _, output: sent.astype(output.dtype)):
        return model.apply(variables, rows, key=key)[0]


def _readers(function, variables: Variables, rows: Any, *sent: Any) -> tuple[tuple[str, ...], bool]:
    """Returns (names of the variables that the result depends on, whether it depends on `rows`)."""
    program, _ = programs.trace(function, variables, rows, *sent)
    needed = programs.needed(program.steps, program.outputs)
    names = [name for name, _ in named_leaves(variables)]
    of_rows = program.inputs[len(names) : len(names) + len(jax.tree.leaves(rows))]
    read = tuple(name for name, number in zip(names, program.inputs, strict=False) if number in needed)
    return read, any(number in needed for number in of_rows)


def _coded(output: Array, quantizer: Quantizer | None) -> Array:
    return output if quantizer is None else quantizer.apply((), output)


def _check_once(model: Model, path: str, variables: Variables, row: Any) -> None:
    calls, called = [], {}

    def matches(other):
        called.setdefault(other)
        return other == path

    def note(_, output):
        calls.append(output)
        return output

    def forward(variables, row):
        with changed_outputs(matches, note):
            return model.apply(variables, row)[0]

    jax.eval_shape(forward, variables, row)
    if len(calls) != 1:
        names = checks.listed([name for name in called if name], 40)
        raise ValueError(
            f"path={path!r} is called {len(calls)} times; a cut needs a module that is called once. The model calls "
            f"{names}."
        )
    if not hasattr(calls[0], "shape") or not jnp.issubdtype(calls[0].dtype, jnp.floating) or not calls[0].shape:
        raise ValueError(f"path={path!r} does not return one array of floats [b, ...], which alone can be sent.")


def _check_quantizer(quantizer: Quantizer) -> None:
    if not isinstance(quantizer, Quantizer) or not quantizer.inputs:
        name = getattr(quantizer, "name", quantizer)
        raise ValueError(
            f"quantizer={name!r} does not serve activations; take one of inputs, such as quantizers.uniform(8, "
            "max_abs=4.0)."
        )
    if jax.tree.leaves(quantizer.init(jnp.ones((1, 1)))):
        raise ValueError(
            f"quantizer={quantizer.name!r} learns a state, which a split does not train: take one without, such as "
            "quantizers.uniform(8, max_abs=4.0)."
        )


def _refuse_training(train: bool) -> None:
    if train:
        raise ValueError("the parts of a split are not trained: train the whole network, and split it afterwards.")
