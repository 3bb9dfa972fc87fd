"""Peak activation memory of one forward pass by liveness: max over time of the sum of what is alive.

A lower bound on the arena of any planner for these tensors, max_t sum live(t); weights are not in it. The tensors are
those of the program (jaxpr) of `model.apply` for one example, under these assumptions:
  - A layer, pooling or other reduction reads tensors in memory and writes one. Elementwise work (bias, folded
    normalisation, activation, sign, a residual sum) happens while the tensor it belongs to is written, and costs none.
  - Reshapes, slices and padding are views of what they are taken from.
  - While a step runs, its inputs and its output are alive together; the network's input is alive until its last use.
  - A tensor is kept at the precision its readers need: k bits where every reader is a layer whose input is quantised to
    k bits, else its own type's width.
  - A loop or branch inside the program (`scan`, `cond`) is one step; what lives inside it is not seen.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Literal

from gecko_jax.models.trace import Call, trace
from gecko_jax.types import Array, Model, Variables

_INLINED = ("pjit", "jit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_VIEWS = frozenset("reshape squeeze expand_dims pad slice copy stop_gradient broadcast_in_dim".split())
_ELEMENTWISE = frozenset(
    "add sub mul div max min neg sign abs exp exp2 expm1 log log1p logistic tanh erf erf_inv erfc sqrt rsqrt cbrt pow "
    "integer_pow square floor ceil round rem and or xor not eq ne lt le gt ge select_n clamp convert_element_type "
    "is_finite sin cos tan atan2 nextafter shift_left shift_right_logical reduce_precision optimization_barrier".split()
)
_PRODUCTS = ("dot_general", "conv_general_dilated")


class Tensor(NamedTuple):
    """A tensor in memory: its bytes, the step that writes it, and the last step that reads it."""

    bytes: int
    written: int
    read: int


def peak(tensors: list[Tensor]) -> int:
    """max over steps t of the bytes of all tensors with written <= t <= read.

    >>> peak([Tensor(4, 0, 1), Tensor(8, 1, 2), Tensor(2, 2, 2)])
    12
    """
    steps = {tensor.written for tensor in tensors}
    return max((sum(t.bytes for t in tensors if t.written <= step <= t.read) for step in steps), default=0)


def activations(model: Model, variables: Variables, x: Array) -> list[Tensor]:
    """The tensors that one example's forward pass keeps in memory, in the order in which they are written.

    Args:
      model, variables: a model and its variables (or their shapes).
      x: a batch of inputs [b, ...], of which only the first row's shape and type matter.
    """
    one = x[:1]
    closed = jax.make_jaxpr(lambda v, row: model.apply(v, row)[0])(variables, one)
    return liveness(closed, len(jax.tree.leaves(variables)), trace(model, variables, one))


class _Step(NamedTuple):
    primitive: str
    inputs: tuple[int, ...]  # ids of values that depend on the network's input
    outputs: tuple[int, ...]


class _Flat:
    """A jaxpr with its inner calls inlined; values have numbers, and constants (what no input reaches) have none."""

    def __init__(self, closed: ClosedJaxpr, constants: int):
        self.avals: list[Any] = []
        self.steps: list[_Step] = []
        jaxpr = closed.jaxpr
        self.sources = [self._new(var.aval) for var in jaxpr.invars[constants:]]
        names = dict(zip(jaxpr.invars[constants:], self.sources, strict=True))
        self.results = [r for r in self._inline(jaxpr, names) if r is not None]

    def _new(self, aval) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def _inline(self, jaxpr, names: dict[Any, int]) -> list[int | None]:
        def number(atom):
            return None if isinstance(atom, Literal) else names.get(atom)

        for eqn in jaxpr.eqns:
            operands = [number(atom) for atom in eqn.invars]
            inner = _inner(eqn)
            if inner is not None:
                known = {v: n for v, n in zip(inner.invars, operands, strict=True) if n is not None}
                for var, result in zip(eqn.outvars, self._inline(inner, known), strict=True):
                    if result is not None:
                        names[var] = result
            elif any(n is not None for n in operands):
                outputs = tuple(self._new(var.aval) for var in eqn.outvars)
                names.update(zip(eqn.outvars, outputs, strict=True))
                reached = tuple(n for n in operands if n is not None)
                self.steps.append(_Step(eqn.primitive.name, reached, outputs))
        return [number(atom) for atom in jaxpr.outvars]

    def needed(self) -> list[_Step]:
        """The steps that the results depend on."""
        wanted, kept = set(self.results), []
        for step in reversed(self.steps):
            if wanted.intersection(step.outputs):
                wanted.update(step.inputs)
                kept.append(step)
        return kept[::-1]


def _inner(eqn):
    if eqn.primitive.name not in _INLINED:
        return None
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner


def liveness(closed: ClosedJaxpr, constants: int, calls: list[Call]) -> list[Tensor]:
    """The tensors of a program whose first `constants` inputs are weights; see the module's head for the rules.

    Args:
      closed: the program, for one example.
      constants: how many of its inputs are weights.
      calls: its layers in call order, for the precision of their inputs.
    """
    flat = _Flat(closed, constants)
    steps, width = flat.needed(), _input_bits(flat, calls)
    home = dict.fromkeys(flat.sources, 0)  # value -> the group of steps that writes it
    origin: dict[int, int] = {}  # a view -> what it is a view of
    read: dict[int, int] = {}  # value -> last group that reads it
    bits: dict[int, int] = {}  # value -> widest precision at which another group reads it
    groups = 0

    for step in steps:
        inputs = tuple(origin.get(n, n) for n in step.inputs)
        if step.primitive in _VIEWS:
            origin.update(dict.fromkeys(step.outputs, inputs[0]))
            continue
        group = max(home[n] for n in inputs)
        if step.primitive not in _ELEMENTWISE:
            groups += 1
            group = groups
        for raw, n in zip(step.inputs, inputs, strict=True):
            if home[n] != group:
                read[n] = max(read.get(n, 0), group)
                bits[n] = max(bits.get(n, 0), width.get((step.outputs[0], raw), _width(flat.avals[n])))
        home.update(dict.fromkeys(step.outputs, group))

    for n in (origin.get(n, n) for n in flat.results):
        read[n], bits[n] = groups, _width(flat.avals[n])
    for n in flat.sources:  # the input arrives whole, whoever reads it
        read.setdefault(n, 0)
        bits[n] = _width(flat.avals[n])
    tensors = [
        Tensor(-(-math.prod(flat.avals[n].shape) * bits[n] // 8), home[n], last) for n, last in read.items()
    ]
    return sorted(tensors, key=lambda tensor: tensor.written)


def _width(aval) -> int:
    return 8 * aval.dtype.itemsize


def _input_bits(flat: _Flat, calls: list[Call]) -> dict[tuple[int, int], int]:
    """{(a product's output, its operand): bits}: the products that are layers, found by order and output size."""
    waiting = [call for call in calls if call.kind != "Embed"]
    found = {}
    for step in flat.needed():
        if step.primitive in _PRODUCTS and len(step.inputs) == 1 and waiting:
            if math.prod(flat.avals[step.outputs[0]].shape) == math.prod(waiting[0].output):
                call = waiting.pop(0)
                if call.inputs is not None:
                    found[step.outputs[0], step.inputs[0]] = call.inputs.bits
    return found
