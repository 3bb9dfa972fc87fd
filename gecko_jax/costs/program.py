"""The program of one example's forward pass as flat steps, with every product that it computes.

One interpreter of jaxprs serves all counts: operations, activation memory and what is folded at deployment. Wrappers
(jit, remat, custom derivatives, shard_map) are opened. A loop or a branch stays one step, but the products inside it
are counted: a scan's as often as it runs, of a conditional the branch that multiplies most.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.extend.core import Literal

from gecko_jax.costs.primitives import COUNTS, OPAQUE, jaxprs_of, multiplies
from gecko_jax.models.trace import layer_path
from gecko_jax.programs import scan_counts
from gecko_jax.trees import named_leaves
from gecko_jax.types import Array, Model, Variables

_WRAPPERS = frozenset(
    "pjit jit closed_call core_call core_closed_call named_call remat remat2 checkpoint custom_jvp_call "
    "custom_vjp_call custom_vjp_call_jaxpr composite xla_metadata_call shard_map".split()
)
_LOOPS = frozenset(("scan", "while", "cond"))
_MARK = re.compile(r"layer\[([^\]]*)\]")


class Product(NamedTuple):
    """One product of two arrays, or all of its runs in a loop.

    Attributes:
      macs: multiply-accumulates; one of complex numbers counts as four.
      scope: path of the innermost module whose `__call__` computes it; None if unknown.
      weights: numbers of the variables' leaves that make up the factor that does not depend on the input; None if both
        factors depend on it (attention), or if neither does.
      weight_type, input_type: types of the two factors.
      input: number of the other factor's value; None if it is a constant.
    """

    macs: int
    scope: str | None
    weights: frozenset[int] | None
    weight_type: Any
    input_type: Any
    input: int | None


class Step(NamedTuple):
    """One primitive: the numbers of its operands (None for a constant of the code) and of its outputs."""

    primitive: str
    operands: tuple[int | None, ...]
    outputs: tuple[int, ...]
    products: tuple[Product, ...]


class Program(NamedTuple):
    """A flat forward pass; values have numbers.

    Attributes:
      names: of the variables' leaves, "params/Dense_0/kernel"; a leaf's number is its place here.
      avals: shape and type of each value.
      data: numbers of the values that depend on the network's input.
      origins: for each value, the leaves that it depends on.
      inputs, results: numbers of the network's inputs and outputs.
      steps: in order.
      kinds: {path: class name} of the modules that are called.
      uncountable: what multiplies an unknown number of times, in words; empty if all products are counted.
    """

    names: tuple[str, ...]
    avals: list[Any]
    data: frozenset[int]
    origins: list[frozenset[int]]
    inputs: tuple[int, ...]
    results: tuple[int, ...]
    steps: tuple[Step, ...]
    kinds: dict[str, str]
    uncountable: tuple[str, ...]

    def needed(self) -> list[Step]:
        """Lists the steps that depend on the input and that the results depend on."""
        wanted, kept = set(self.results), []
        for step in reversed(self.steps):
            if wanted.intersection(step.outputs) and self.data.intersection(step.outputs):
                wanted.update(n for n in step.operands if n is not None)
                kept.append(step)
        return kept[::-1]

    def reached(self, step: Step) -> tuple[int, ...]:
        """Lists the operands that depend on the network's input."""
        return tuple(n for n in step.operands if n in self.data)


def forward_pass(model: Model, variables: Variables, x: Array) -> Program:
    """Traces `model.apply` in evaluation mode for one example; nothing is computed.

    Args:
      model, variables: a model and its variables (or their shapes).
      x: a batch of inputs [b, ...], of which only the first row's shape and type matter.
    """
    kinds: dict[str, str] = {}

    def mark(next_fun, args, kwargs, context):
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        path = layer_path(context.module)
        kinds[path] = type(context.module).__name__
        with jax.named_scope(f"layer[{path}]"):
            return next_fun(*args, **kwargs)

    with nn.intercept_methods(mark):
        closed = jax.make_jaxpr(lambda v, row: model.apply(v, row)[0])(variables, x[:1])
    names = tuple(name for name, _ in named_leaves(variables))
    walk = _Walk()
    values = [
        walk.new(var.aval, i >= len(names), frozenset([i] if i < len(names) else []))
        for i, var in enumerate(closed.jaxpr.invars)
    ]
    steps: list[Step] = []
    results = walk.run(closed.jaxpr, values, "", steps)
    return Program(
        names, walk.avals, frozenset(n for n, data in enumerate(walk.data) if data), walk.origins,
        tuple(values[len(names) :]), tuple(n for n in results if n is not None), tuple(steps), kinds,
        tuple(dict.fromkeys(walk.uncountable)),
    )  # fmt: skip


class _Walk:
    """Numbers the values of a jaxpr while its wrappers are opened."""

    def __init__(self):
        self.avals: list[Any] = []
        self.data: list[bool] = []
        self.origins: list[frozenset[int]] = []
        self.uncountable: list[str] = []

    def new(self, aval: Any, data: bool, origins: frozenset[int]) -> int:
        self.avals.append(aval)
        self.data.append(data)
        self.origins.append(origins)
        return len(self.avals) - 1

    def run(self, jaxpr, values: list[int | None], path: str, steps: list[Step]) -> list[int | None]:
        """Appends the steps of a jaxpr called with these values; returns its outputs."""
        known = {var: n for var, n in zip(jaxpr.invars, values, strict=True) if n is not None}

        def number(atom):
            return None if isinstance(atom, Literal) else known.get(atom)

        for equation in jaxpr.eqns:
            name, operands = equation.primitive.name, [number(atom) for atom in equation.invars]
            inside = f"{path}/{equation.source_info.name_stack}"
            if name in _WRAPPERS:
                inner, repeats = jaxprs_of(equation.params)[0], _shards(equation.params) if name == "shard_map" else 1
                own: list[Step] = []
                outputs = self.run(inner, operands, inside, own)
                steps += own if repeats == 1 else [_repeated(step, repeats) for step in own]
                known.update((var, n) for var, n in zip(equation.outvars, outputs, strict=True) if n is not None)
                continue
            if name in _LOOPS:
                marks, products = getattr(self, f"_{name}")(equation.params, operands, inside)
            else:
                marks = [self._marks(operands)] * len(equation.outvars)
                products = self._products(equation, operands, inside)
            numbers = tuple(self.new(var.aval, *mark) for var, mark in zip(equation.outvars, marks, strict=True))
            known.update(zip(equation.outvars, numbers, strict=True))
            steps.append(Step(name, tuple(operands), numbers, tuple(products)))
        return [number(atom) for atom in jaxpr.outvars]

    def _marks(self, values: list[int | None]) -> tuple[bool, frozenset[int]]:
        there = [n for n in values if n is not None]
        return any(self.data[n] for n in there), frozenset().union(*(self.origins[n] for n in there))

    def _body(self, jaxpr, marks: list, path: str) -> tuple[list, list[Product]]:
        """Marks of the outputs, and the products, of one run of a loop's body or of a branch."""
        steps: list[Step] = []
        values = [self.new(var.aval, *mark) for var, mark in zip(jaxpr.invars, marks, strict=True)]
        outputs = self.run(jaxpr, values, path, steps)
        return [self._marks([n]) for n in outputs], [product for step in steps for product in step.products]

    def _carried(self, jaxpr, fixed: list, carry: list, rest: list, path: str) -> tuple[list, list[Product], list]:
        """A body whose outputs come back as its carry, with marks that hold in every run."""
        while True:
            outputs, products = self._body(jaxpr, [*fixed, *carry, *rest], path)
            merged = [_either(a, b) for a, b in zip(carry, outputs, strict=False)]
            if merged == carry:
                return outputs, products, carry
            carry = merged

    def _scan(self, params, operands, path):
        marks, (consts, carried) = [self._marks([n]) for n in operands], scan_counts(params)
        last = consts + carried
        outputs, products, carry = self._carried(
            params["jaxpr"].jaxpr, marks[:consts], marks[consts:last], marks[last:], path
        )
        length = params["length"]
        return [*carry, *outputs[len(carry) :]], [p._replace(macs=p.macs * length) for p in products]

    def _while(self, params, operands, path):
        marks, of_cond = [self._marks([n]) for n in operands], params["cond_nconsts"]
        of_body = of_cond + params["body_nconsts"]
        _, products, carry = self._carried(
            params["body_jaxpr"].jaxpr, marks[of_cond:of_body], marks[of_body:], [], path
        )
        stop, tested = self._body(params["cond_jaxpr"].jaxpr, [*marks[:of_cond], *carry], path)
        if products or tested:
            self.uncountable.append(
                f"a loop that ends on a condition{_place(path)} multiplies {_total(products) + _total(tested):,} times "
                "a pass, and how often it runs is unknown. Write it with nn.scan, or with jax.lax.fori_loop whose "
                "bounds are Python integers"
            )
        return [_either(mark, stop[0]) for mark in carry], []

    def _cond(self, params, operands, path):
        index, *marks = (self._marks([n]) for n in operands)
        branches = [self._body(branch.jaxpr, marks, path) for branch in params["branches"]]
        outputs = [index] * len(branches[0][0])
        for results, _ in branches:
            outputs = [_either(a, b) for a, b in zip(outputs, results, strict=True)]
        return outputs, max((products for _, products in branches), key=_total)

    def _products(self, equation, operands, path) -> list[Product]:
        name, count = equation.primitive.name, COUNTS.get(equation.primitive.name)
        if name in OPAQUE or (count is None and any(multiplies(inner) for inner in jaxprs_of(equation.params))):
            self.uncountable.append(
                f"{name}{_place(path)} multiplies by a rule of its own. Write it with matrix products, or leave it out "
                "of the model whose cost is asked for"
            )
        if count is None:
            return []
        left, right = (var.aval for var in equation.invars[:2])
        macs = count(equation, left.shape, right.shape)
        macs *= 4 if equation.outvars[0].aval.dtype.kind == "c" else 1
        marks = _MARK.findall(path)
        product = Product(macs, marks[-1] if marks else None, None, left.dtype, right.dtype, operands[0])
        made_of_weights = [i for i in (0, 1) if not self._marks([operands[i]])[0] and self._marks([operands[i]])[1]]
        if len(made_of_weights) != 1:
            return [product]
        [i] = made_of_weights
        types = (right.dtype, left.dtype) if i else (left.dtype, right.dtype)
        return [Product(macs, product.scope, self.origins[operands[i]], *types, operands[1 - i])]


def _shards(params: dict[str, Any]) -> int:
    """How many devices run the body of a shard_map, each on its own part."""
    mesh = params["mesh"]
    return math.prod(mesh.shape[axis] for axis in params.get("manual_axes", mesh.axis_names))


def _repeated(step: Step, times: int) -> Step:
    return step._replace(products=tuple(p._replace(macs=p.macs * times) for p in step.products))


def _either(a: tuple[bool, frozenset[int]], b: tuple[bool, frozenset[int]]) -> tuple[bool, frozenset[int]]:
    return a[0] or b[0], a[1] | b[1]


def _total(products: list[Product]) -> int:
    return sum(product.macs for product in products)


def _place(path: str) -> str:
    marks = _MARK.findall(path)
    return f" in {marks[-1]!r}" if marks and marks[-1] else ""
