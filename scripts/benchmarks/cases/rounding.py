"""How far a right clipped sum may be from the exact one in a format: the bound by which ways are called wrong.

A product's factors are off by at most u each, a share of their size: half of the last bit in float32; the last bit in
TF32 and bfloat16, which a unit may cut off instead of rounding. Adding up k terms in float32 adds sqrt(k) * 2^-24
(errors of both signs: Higham & Mary, SIAM J. Sci. Comput. 41, 2019). So after L products one behind the other a
gradient is off by

    rho = L (2 u + sqrt(k) 2^-24).

Clipping brings no two gradients further apart. What is off in the weights moves all examples alike: the sum by rho of
its length. What is off in an example's own numbers is independent of the others': it moves the sum of n shares of
length at most C by rho sqrt(n) C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.privacy.per_example.precision import STORED_BITS
from gecko_jax.programs import flow, trace

FLOAT32 = 2.0**-24
UNITS = {"float32": FLOAT32} | {name: 2.0**-bits for name, bits in STORED_BITS.items()}


class Chain(NamedTuple):
    """Attributes:
    products: L, the largest number of products one behind the other.
    terms: k, the largest number of terms of a sum in a product.
    """

    products: int
    terms: int


def chain_of(function: Callable[..., Any], *arguments: Any) -> Chain:
    """Counts the products of a traced function; those of a loop once."""
    terms = [1]

    def through(step, depths):
        depth = max(depths, default=0)
        if step.name in ("dot_general", "conv_general_dilated"):
            left, right = (atom.value if hasattr(atom, "value") else program.avals[atom] for atom in step.inputs)
            terms.append(_terms(step, left.shape, right.shape))
            depth += 1
        return [depth] * len(step.outputs)

    program, _ = trace(function, *arguments)
    depths = flow(program, [0] * len(program.inputs), lambda *each: max(each, default=0), through).outputs
    return Chain(max(depths), max(terms))


def _terms(step: Any, left: tuple[int, ...], right: tuple[int, ...]) -> int:
    if step.name == "dot_general":
        return int(np.prod([left[axis] for axis in step.params["dimension_numbers"][0][0]], dtype=int))
    return int(np.prod(right)) // right[step.params["dimension_numbers"].rhs_spec[0]]


def format_of(backend: str, setting: str | None) -> str:
    """The format of products on a backend under `jax.default_matmul_precision`, whose default None stands for.

    Raises:
      ValueError: a setting whose format is not known here.
    """
    usual = {"cpu": "float32", "tpu": "bfloat16"}.get(backend, "tensorfloat32")
    names = {None: usual, "default": usual, "highest": "float32", "high": "tensorfloat32"}
    name = names.get(setting, setting)
    if name not in UNITS:
        raise ValueError(f"jax_default_matmul_precision={setting!r} is not judged here; set one of {sorted(UNITS)}.")
    return "float32" if backend == "cpu" else name


def tolerance(chain: Chain, name: str, rows: int, clip_norm: float, length: float) -> float:
    """The largest error of a clipped sum over its length.

    Args:
      chain: of the program that computes the gradients.
      name: of the format, a key of UNITS.
      rows, clip_norm: how many shares of at most which length are added.
      length: of their sum.
    """
    each = chain.products * (2 * UNITS[name] + np.sqrt(chain.terms) * FLOAT32)
    return float(each * (1 + np.sqrt(rows) * clip_norm / length))


def judged(result: np.ndarray, expected: np.ndarray, limit: float) -> str | None:
    """What is wrong with a sum, in words; None if it is right."""
    error = float(np.linalg.norm(result - expected) / np.linalg.norm(expected))
    return None if error <= limit else f"WRONG: off by {error:.1e} of the sum's length, at most {limit:.1e} is rounding"
