"""Counts the multiply-accumulates of a program's primitives, and lists those that hide theirs."""

from __future__ import annotations

import math
from collections.abc import Callable

from gecko_jax.programs import inner_programs

# They multiply by a rule of their own, or outside the program. Elementwise work is neither counted nor listed.
OPAQUE = frozenset(
    "pure_callback io_callback ffi_call custom_call fft cholesky cholesky_update lu qr geqrf geqp3 householder_product "
    "eig eigh svd schur hessenberg tridiagonal tridiagonal_solve triangular_solve lu_solve ormqr "
    "call_hi_primitive call_hi_primitive_linearized call_exported call_tf buffer_callback tpu_custom_call cudnn_fusion "
    "scaled_dot scaled_matmul scaled_matmul_wrapper dot_product_attention_fwd rnn_fwd bcoo_dot_general "
    "bcoo_dot_general_sampled bcoo_spdot_general bcsr_dot_general coo_matvec coo_matmat csr_matvec csr_matmat".split()
)


def dot(step, left, right) -> int:
    """Counts one multiply-accumulate for every output and every term of its sum."""
    (summed, _), _ = step.params["dimension_numbers"]
    return math.prod(step.avals[0].shape) * math.prod(left[i] for i in summed)


def ragged_dot(step, left, right) -> int:
    """Counts as `dot`, because each row is multiplied by the matrix of one group."""
    (summed, _), _ = step.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    return math.prod(step.avals[0].shape) * math.prod(left[i] for i in summed)


def convolution(step, left, right) -> int:
    """Counts outputs times places of the window; of a transposed one inputs, because zeros lie between them."""
    numbers = step.params["dimension_numbers"]
    macs = math.prod(step.avals[0].shape) * math.prod(right) // right[numbers.rhs_spec[0]]
    if any(d != 1 for d in step.params["lhs_dilation"]):
        positions = math.prod(left[i] for i in (numbers.lhs_spec[0], *numbers.lhs_spec[2:]))
        macs = min(macs, positions * math.prod(right))
    return macs


COUNTS: dict[str, Callable[..., int]] = {
    "dot_general": dot,
    "ragged_dot_general": ragged_dot,
    "conv_general_dilated": convolution,
}


def multiplies(jaxpr) -> bool:
    """Tells whether a jaxpr, or one inside it, holds a product or a primitive that hides one."""
    return any(
        equation.primitive.name in COUNTS
        or equation.primitive.name in OPAQUE
        or any(multiplies(inner) for inner in inner_programs(equation.params))
        for equation in jaxpr.eqns
    )
