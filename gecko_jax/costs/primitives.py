"""Which primitives of a jaxpr multiply arrays, how often, and which hide it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jax.extend.core import ClosedJaxpr

# What multiplies by a rule of its own, or outside the program. Elementwise work is not counted and not listed.
OPAQUE = frozenset(
    "pure_callback io_callback ffi_call custom_call fft cholesky cholesky_update lu qr geqrf geqp3 householder_product "
    "eig eigh svd schur hessenberg tridiagonal tridiagonal_solve triangular_solve lu_solve ormqr".split()
)


def dot(equation, left, right) -> int:
    """Counts every output times what is summed over."""
    (summed, _), _ = equation.params["dimension_numbers"]
    return math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in summed)


def ragged_dot(equation, left, right) -> int:
    """Counts as `dot`: each row is multiplied by the matrix of one group."""
    (summed, _), _ = equation.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    return math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in summed)


def convolution(equation, left, right) -> int:
    """Counts every output times the window; of a transposed one, every input: what lies between them are zeros."""
    numbers = equation.params["dimension_numbers"]
    macs = math.prod(equation.outvars[0].aval.shape) * math.prod(right) // right[numbers.rhs_spec[0]]
    if any(d != 1 for d in equation.params["lhs_dilation"]):
        positions = math.prod(left[i] for i in (numbers.lhs_spec[0], *numbers.lhs_spec[2:]))
        macs = min(macs, positions * math.prod(right))
    return macs


COUNTS: dict[str, Callable[..., int]] = {
    "dot_general": dot,
    "ragged_dot_general": ragged_dot,
    "conv_general_dilated": convolution,
}

def jaxprs_of(params: dict[str, Any]) -> list[Any]:
    """Lists the jaxprs among an equation's parameters, opened, "jaxpr" and "call_jaxpr" first."""
    first = [params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in params]
    values = [value if isinstance(value, tuple) else (value,) for value in (*first, *params.values())]
    leaves = [leaf for value in values for leaf in value]
    leaves = [leaf.jaxpr if isinstance(leaf, ClosedJaxpr) else leaf for leaf in leaves]
    return [leaf for leaf in leaves if hasattr(leaf, "eqns")]


def multiplies(jaxpr) -> bool:
    """Tells whether a product, or what hides one, is among a jaxpr's equations or deeper in."""
    return any(
        equation.primitive.name in COUNTS
        or equation.primitive.name in OPAQUE
        or any(multiplies(inner) for inner in jaxprs_of(equation.params))
        for equation in jaxpr.eqns
    )
