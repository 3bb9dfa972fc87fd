"""Primitives that only run another program, by the names that JAX 0.10 to 0.12 give them: the only such list."""

from __future__ import annotations

from typing import Any

# Their program is all that they are: every reader opens them.
TRANSPARENT = frozenset(
    "jit pjit call closed_call core_call core_closed_call named_call remat remat2 checkpoint compute_on "
    "xla_metadata_call".split()
)
# They compute their program too, but their derivative or their batching may be another: whoever differentiates or maps
# a program leaves them closed.
CUSTOM = frozenset(
    "custom_jvp_call custom_jvp_call_jaxpr custom_vjp_call custom_vjp_call_jaxpr custom_vmap_call composite".split()
)
# They run their program once on each device, on its part of the arrays.
MAPPED = frozenset(("shard_map",))
# They run theirs as often as data say, or one of several. They stay one step, whose bodies are programs.
LOOPS = frozenset(("scan", "while", "cond"))

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")  # where an equation keeps its program


def opened(name: str, differentiable: bool) -> bool:
    """Tells whether a primitive is opened: the steps of its program take its place.

    Args:
      name: of the primitive.
      differentiable: whether the steps are differentiated or mapped later, so that rules of their own must survive.

    Returns:
      True or False.

    >>> opened("jit", True), opened("custom_jvp_call", True), opened("custom_jvp_call", False), opened("scan", False)
    (True, False, True, False)
    """
    return name in TRANSPARENT or (not differentiable and name in CUSTOM | MAPPED)


def body_of(equation: Any) -> tuple[Any, list[Any]] | None:
    """Returns the program that a wrapper runs, and its constants; None if no program fits the equation's arguments."""
    for name in _BODIES:
        body = equation.params.get(name)
        jaxpr, consts = getattr(body, "jaxpr", body), getattr(body, "consts", [])
        if not hasattr(jaxpr, "eqns"):
            continue
        inner = len(jaxpr.invars), len(jaxpr.outvars), len(jaxpr.constvars)
        if inner == (len(equation.invars), len(equation.outvars), len(consts)):
            return jaxpr, list(consts)
    return None


def inner_programs(params: dict[str, Any]) -> list[Any]:
    """Lists the jaxprs among an equation's parameters.

    Args:
      params: of a step or an equation.

    Returns:
      Open jaxprs.

    >>> import jax
    >>> [equation] = jax.make_jaxpr(jax.jit(jax.numpy.sin))(1.0).eqns
    >>> [inner.eqns[0].primitive.name for inner in inner_programs(equation.params)]
    ['sin']
    """
    values = [value if isinstance(value, tuple) else (value,) for value in params.values()]
    leaves = [getattr(leaf, "jaxpr", leaf) for value in values for leaf in value]
    return [leaf for leaf in leaves if hasattr(leaf, "eqns")]
