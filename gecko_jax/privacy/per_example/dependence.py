"""Which inputs each output of a traced function depends on, through loops, branches and wrappers."""

from __future__ import annotations

from collections.abc import Sequence

from jax.extend import core

from gecko_jax.privacy.per_example.graph import WRAPPERS
from gecko_jax.programs import scan_counts

Labels = frozenset
CALLS = WRAPPERS | {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "shard_map"}


def dependence(jaxpr: core.Jaxpr, labels: Sequence[Labels]) -> list[Labels]:
    """The labels of all inputs that each output may depend on.

    Args:
      jaxpr: an open jaxpr.
      labels: for each of its inputs a set of labels.

    Returns:
      A set of labels for each output. An operation that is not looked into passes all of its inputs' labels on.
    """
    known = dict(zip(jaxpr.invars, labels, strict=True))

    def read(atom):
        return Labels() if isinstance(atom, core.Literal) else known.get(atom, Labels())  # constants have none

    for equation in jaxpr.eqns:
        known.update(zip(equation.outvars, _outputs(equation, [read(atom) for atom in equation.invars]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _outputs(equation, given: list[Labels]) -> list[Labels]:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(params, given)
    if name == "while":
        return _while(params, given)
    if name == "cond":
        branches = [dependence(_open(branch), given[1:]) for branch in params["branches"]]
        return [given[0].union(*each) for each in zip(*branches, strict=True)]
    inner = _open(params.get("jaxpr", params.get("call_jaxpr", params.get("fun_jaxpr")))) if name in CALLS else None
    if inner is not None and len(inner.invars) == len(given) and len(inner.outvars) == len(equation.outvars):
        return dependence(inner, given)
    return [Labels().union(*given)] * len(equation.outvars)


def _open(jaxpr):
    return getattr(jaxpr, "jaxpr", jaxpr)


def _scan(params, given: list[Labels]) -> list[Labels]:
    first, count = scan_counts(params)
    consts, carry, rows = given[:first], given[first : first + count], given[first + count :]
    while True:
        found = dependence(_open(params["jaxpr"]), [*consts, *carry, *rows])
        grown = [old | new for old, new in zip(carry, found, strict=False)]
        if grown == carry:
            return [*carry, *found[len(carry) :]]
        carry = grown


def _while(params, given: list[Labels]) -> list[Labels]:
    of_test, of_body = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    carry = given[of_body:]
    while True:
        [test] = dependence(_open(params["cond_jaxpr"]), [*given[:of_test], *carry])
        found = dependence(_open(params["body_jaxpr"]), [*given[of_test:of_body], *carry])
        grown = [old | new | test for old, new in zip(carry, found, strict=True)]
        if grown == carry:
            return carry
        carry = grown
