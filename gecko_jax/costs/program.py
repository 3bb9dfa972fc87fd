"""The products of one example's forward pass, and the weights and inputs that their factors are computed from.

One walk over the flat program serves all counts: operations, activation memory and folded normalization. A loop or a
branch stays one step, but the products inside it are counted: those of a scan as often as it runs, those of a
conditional in the branch that multiplies most.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gecko_jax import programs
from gecko_jax.costs.primitives import COUNTS, OPAQUE, multiplies
from gecko_jax.programs import Constant, Step, layer_of, layer_scopes
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Array, Model, Variables


class Product(NamedTuple):
    """One product of two arrays, or all of its runs in a loop.

    Attributes:
      macs: multiply-accumulates; one of complex numbers counts as four.
      scope: path of the innermost module whose `__call__` computes it; None if unknown.
      weights: numbers of the variables' leaves from which the factor is computed that does not depend on the input;
        None if both factors depend on it (attention), or if neither does.
      weight_type, input_type: types of the two factors.
      input: number of the other factor's value, in the program or the loop's body; None if it is a constant.
    """

    macs: int
    scope: str | None
    weights: frozenset[int] | None
    weight_type: Any
    input_type: Any
    input: int | None


CountedStep = tuple[Step, tuple[Product, ...]]


class Origins(NamedTuple):
    """What a value is computed from: whether the network's input, and which leaves of the variables."""

    data: bool
    leaves: frozenset[int]


class Forward(NamedTuple):
    """A flat forward pass; values have numbers.

    Attributes:
      names: of the variables' leaves, "params/Dense_0/kernel"; a leaf's number is its place here.
      program: the steps.
      inputs: numbers of the network's inputs.
      origins: of each value.
      products: of each step, in the order of the steps.
      kinds: {path: class name} of the modules that are called.
      uncountable: a sentence on each part that multiplies an unknown number of times; empty if all are counted.
    """

    names: tuple[str, ...]
    program: programs.Program
    inputs: tuple[int, ...]
    origins: list[Origins]
    products: tuple[tuple[Product, ...], ...]
    kinds: dict[str, str]
    uncountable: tuple[str, ...]

    def needed(self) -> list[CountedStep]:
        """Lists the steps that depend on the input and that the results depend on, each with its products."""
        live = programs.needed(self.program.steps, self.results())
        pairs = zip(self.program.steps, self.products, strict=True)
        return [(step, own) for step, own in pairs if any(n in live and self.origins[n].data for n in step.outputs)]

    def results(self) -> list[int]:
        """Lists the numbers of the network's outputs, without constants."""
        return [n for n in self.program.outputs if not isinstance(n, Constant)]

    def reached(self, step: Step) -> tuple[int, ...]:
        """Lists the operands that depend on the network's input."""
        return tuple(n for n in step.inputs if not isinstance(n, Constant) and self.origins[n].data)


def forward_pass(model: Model, variables: Variables, x: Array) -> Forward:
    """Traces `model.apply` in evaluation mode for one example; nothing is computed.

    Args:
      model, variables: a model and its variables (or their shapes).
      x: inputs [b, ...], any pytree, of which only the first row's shapes and types matter.
    """
    with layer_scopes() as kinds:
        program, _ = programs.trace(lambda v, row: model.apply(v, row)[0], variables, take(x, slice(0, 1)))
    names = tuple(name for name, _ in named_leaves(variables))
    leaves = [Origins(False, frozenset([number])) for number in range(len(names))]
    inputs = [Origins(True, frozenset())] * (len(program.inputs) - len(names))
    origins = programs.flow(program, [*leaves, *inputs], _join).values
    count = _Count()
    products = tuple(tuple(count.of_step(step, program, origins)) for step in program.steps)
    return Forward(
        names, program, program.inputs[len(names) :], origins, products, kinds, tuple(dict.fromkeys(count.uncountable))
    )


def _join(*origins: Origins) -> Origins:
    return Origins(any(each.data for each in origins), frozenset().union(*(each.leaves for each in origins)))


class _Count:
    """Counts products, and collects in words what cannot be counted."""

    def __init__(self):
        self.uncountable: list[str] = []

    def of_step(self, step: Step, program: programs.Program, origins: list[Origins]) -> list[Product]:
        """Lists the products of one step; of a loop, with all of its runs."""
        if not step.bodies:
            return self._of_primitive(step, program, origins)
        marks, _ = programs.bodies(step, [_origins_of(atom, origins) for atom in step.inputs], _join)
        inside = [
            [product for each in body.steps for product in self.of_step(each, body, known.values)]
            for body, known in zip(step.bodies, marks, strict=True)
        ]
        if step.name == "cond":
            return [_times(product, step.repeats) for product in max(inside, key=_total)]
        if step.name == "scan":
            return [_times(product, step.repeats * step.params["length"]) for product in inside[0]]
        if any(inside):
            self.uncountable.append(
                f"a loop that ends on a condition{_place(step)} multiplies {sum(map(_total, inside)):,} times a pass, "
                "and how often it runs is unknown. Write it with nn.scan, or with jax.lax.fori_loop whose bounds are "
                "Python integers"
            )
        return []

    def _of_primitive(self, step: Step, program: programs.Program, origins: list[Origins]) -> list[Product]:
        count = COUNTS.get(step.name)
        if step.name in OPAQUE or (count is None and any(map(multiplies, programs.inner_programs(step.params)))):
            self.uncountable.append(
                f"{step.name}{_place(step)} multiplies by a rule of its own. Write it with matrix products, or leave "
                "it out of the model whose cost is asked for"
            )
        if count is None:
            return []
        left, right = (_shape_and_type(atom, program) for atom in step.inputs[:2])
        macs = count(step, left.shape, right.shape) * step.repeats * (4 if step.avals[0].dtype.kind == "c" else 1)
        factors = [_origins_of(atom, origins) for atom in step.inputs[:2]]
        types, numbers = (left.dtype, right.dtype), [None if isinstance(n, Constant) else n for n in step.inputs[:2]]
        made_of_weights = [i for i in (0, 1) if not factors[i].data and factors[i].leaves]
        if len(made_of_weights) != 1:
            return [Product(macs, layer_of(step.scope), None, *types, numbers[0])]
        [i] = made_of_weights
        return [Product(macs, layer_of(step.scope), factors[i].leaves, types[i], types[1 - i], numbers[1 - i])]


def _origins_of(atom: int | Constant, origins: list[Origins]) -> Origins:
    return _join() if isinstance(atom, Constant) else origins[atom]


def _shape_and_type(atom: int | Constant, program: programs.Program) -> Any:
    return jax.typeof(atom.value) if isinstance(atom, Constant) else program.avals[atom]


def _times(product: Product, times: int) -> Product:
    return product._replace(macs=product.macs * times)


def _total(products: list[Product]) -> int:
    return sum(product.macs for product in products)


def _place(step: Step) -> str:
    layer = layer_of(step.scope)
    return f" in {layer!r}" if layer else ""
