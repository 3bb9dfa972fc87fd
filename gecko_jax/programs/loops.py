"""Reads the inputs of a loop from its equation, in JAX 0.10 to 0.12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """Returns how many inputs of a scan are constants, and how many are carried; the rest are scanned over.

    Args:
      params: those of the `scan` equation. JAX up to 0.11 holds the numbers; 0.12 a tree of its inputs (`ft_in`).

    >>> import jax
    >>> step = lambda carry, x: ((carry[0] + x, carry[1] * x), x)
    >>> traced = jax.make_jaxpr(lambda a, b: jax.lax.scan(step, (a, a), b))(1.0, jax.numpy.ones(3))
    >>> scan_counts(next(each.params for each in traced.eqns if each.primitive.name == "scan"))
    (0, 2)
    """
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constants, carried, _ = (len(list(part)) for part in params["ft_in"].unpack())
    return constants, carried
