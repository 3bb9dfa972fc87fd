"""Peak activation memory of one forward pass by liveness: the largest sum of tensors that are alive at once.

It is a lower bound on the arena of any planner for these tensors, max_t sum live(t), without the weights. The tensors
are those of the traced program of `model.apply` for one example, under these assumptions:
  - A layer, pooling or other reduction reads tensors in memory and writes one. Elementwise work (bias, folded
    normalization, activation, sign, a residual sum) happens while its tensor is written, and takes no memory.
  - Reshapes, slices and padding are views of what they are taken from.
  - While a step runs, its inputs and its output are alive together; the network's input is alive until its last use.
  - A tensor is stored at the precision its readers need: k bits if every reader is a layer whose input is quantized to
    k bits, else the width of its type.
  - A loop or branch inside the program (`scan`, `cond`) is one step; tensors inside it are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gecko_jax.costs.precisions import Precisions, type_bits
from gecko_jax.costs.primitives import COUNTS
from gecko_jax.costs.program import Forward, Product, forward_pass
from gecko_jax.models.quantized_layers import weight_quantizers
from gecko_jax.models.trace import trace
from gecko_jax.programs import Lifetime
from gecko_jax.trees import take
from gecko_jax.types import Array, Model, Variables

VIEWS = frozenset("reshape squeeze expand_dims pad slice copy stop_gradient broadcast_in_dim".split())
ELEMENTWISE = frozenset(
    "add sub mul div max min neg sign abs exp exp2 expm1 log log1p logistic tanh erf erf_inv erfc sqrt rsqrt cbrt pow "
    "integer_pow square floor ceil round rem and or xor not eq ne lt le gt ge select_n clamp convert_element_type "
    "is_finite polynomial sin cos tan atan2 nextafter shift_left shift_right_logical reduce_precision "
    "optimization_barrier".split()
)


def activations(model: Model, variables: Variables, x: Array) -> list[Lifetime]:
    """Lists the tensors that one example's forward pass holds in memory, in the order in which they are written.

    Args:
      model, variables: a model and its variables (or their shapes).
      x: inputs [b, ...], any pytree, of which only the first row's shapes and types matter.

    Returns:
      The size and lifetime of each tensor; `programs.peak_bytes` of them is `Cost.peak_activation_bytes`.
    """
    one = take(x, slice(0, 1))
    forward = forward_pass(model, variables, one)
    precisions = Precisions(forward, trace(model, variables, one), weight_quantizers(model, variables, one))
    return liveness(forward, precisions.input_bits)


def liveness(forward: Forward, input_bits: Callable[[Product], int]) -> list[Lifetime]:
    """Lists the tensors of a program; see the module's head for the rules.

    Args:
      forward: the forward pass of one example.
      input_bits: returns the bits at which a product reads its input.
    """
    steps, avals = forward.needed(), forward.program.avals
    width = {
        (step.outputs[0], product.input): input_bits(product)
        for step, products in steps
        for product in products
        if step.name in COUNTS and product.weights is not None
    }
    home = dict.fromkeys(forward.inputs, 0)  # value -> the group of steps that writes it
    origin: dict[int, int] = {}  # a view -> what it is a view of
    read: dict[int, int] = {}  # value -> last group that reads it
    bits: dict[int, int] = {}  # value -> widest precision at which another group reads it
    groups = 0

    for step, _ in steps:
        reached = forward.reached(step)
        inputs = tuple(origin.get(n, n) for n in reached)
        if step.name in VIEWS:
            origin.update(dict.fromkeys(step.outputs, inputs[0]))
            continue
        group = max(home[n] for n in inputs)
        if step.name not in ELEMENTWISE:
            groups += 1
            group = groups
        for raw, n in zip(reached, inputs, strict=True):
            if home[n] != group:
                read[n] = max(read.get(n, 0), group)
                bits[n] = max(bits.get(n, 0), width.get((step.outputs[0], raw), _width(avals[n])))
        home.update(dict.fromkeys(step.outputs, group))

    for n in (origin.get(n, n) for n in forward.results() if forward.origins[n].data):
        read[n], bits[n] = groups, _width(avals[n])
    for n in forward.inputs:  # the input arrives in its own type, whoever reads it
        read.setdefault(n, 0)
        bits[n] = _width(avals[n])
    tensors = [Lifetime(-(-math.prod(avals[n].shape) * bits[n] // 8), home[n], last) for n, last in read.items()]
    return sorted(tensors, key=lambda tensor: tensor.written)


def _width(aval) -> int:
    return type_bits(aval.dtype)
