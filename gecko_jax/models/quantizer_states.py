"""Where quantizers keep their state: what they learn among the parameters, what they measure in a collection.

params["quantizers"]["weight:dense1/kernel"], ["input:dense1"]   learned: a step, a level, two magnitudes
variables["quantizer_ranges"]["input:dense1"]                    measured: a range, {"low", "high", "count"}
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax.models.removed_weights import STATES
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.types import Array, Quantizer, Variables


class Bypass(NamedTuple):
    """What a model leaves in float for a while, although its rules quantize it.

    Attributes:
      weights: names of parameters; None for all.
      inputs: whether all inputs stay in float.
      record: (path, inputs) -> nothing, called with the inputs whose grid follows their range, which stay in float.
    """

    weights: frozenset[str] | None = frozenset()
    inputs: bool = False
    record: Callable[[str, Array], None] | None = None


_NOTHING = Bypass()
_BYPASS: contextvars.ContextVar[Bypass] = contextvars.ContextVar("bypass", default=_NOTHING)


def without_states(variables: Variables) -> dict[str, Any]:
    """Returns the variables as the network under the quantizers knows them."""
    params = {name: leaf for name, leaf in variables["params"].items() if name != STATES}
    return {**{name: tree for name, tree in variables.items() if name != RANGES}, "params": params}


def with_states_of(new: Variables, variables: Variables) -> dict[str, Any]:
    """Returns the network's variables `new` with the states that are in `variables`."""
    learned = {STATES: variables["params"][STATES]} if STATES in variables["params"] else {}
    measured = {RANGES: variables[RANGES]} if RANGES in variables else {}
    return {**new, "params": {**new["params"], **learned}, **measured}


def put_states(variables: Variables, states: dict[str, tuple[Quantizer, Any]]) -> dict[str, Any]:
    """Returns the network's variables with the states of quantizers, each in its place.

    Args:
      variables: of the network, with or without states.
      states: {"weight:dense1/kernel" or "input:dense1": (the quantizer, its state)}; empty states are left out.
    """
    full = {name: pair for name, pair in states.items() if jax.tree.leaves(pair[1])}
    learned = {name: state for name, (quantizer, state) in full.items() if quantizer.observe is None}
    measured = {name: state for name, (quantizer, state) in full.items() if quantizer.observe is not None}
    if learned:
        params = variables["params"]
        variables = {**variables, "params": {**params, STATES: {**params.get(STATES, {}), **learned}}}
    return {**variables, RANGES: {**variables.get(RANGES, {}), **measured}} if measured else dict(variables)


def has_state(quantizer: Quantizer, variables: Variables, name: str) -> bool:
    """Tells whether the variables hold a state for a quantizer, by its name ("input:dense1")."""
    return name in (variables.get(RANGES, {}) if quantizer.observe else variables["params"].get(STATES, {}))


def state_of(quantizer: Quantizer, variables: Variables, name: str, like: Array) -> Any:
    """Returns the state of a quantizer, () for one that has none.

    Args:
      quantizer: of the weight or input.
      variables: of the quantized model.
      name: "weight:dense1/kernel" or "input:dense1".
      like: the weight or input, or its shape.

    Raises:
      ValueError: variables without the state that this quantizer needs.
    """
    if has_state(quantizer, variables, name):
        return (variables[RANGES] if quantizer.observe else variables["params"][STATES])[name]
    if jax.tree.leaves(jax.eval_shape(quantizer.init, like)):
        raise ValueError(
            f"variables hold no state of the quantizer {quantizer.name!r} for {name!r}: they come from a model without "
            "it. Start from this model's init, or pass them through models.calibrate(model, variables, x)."
        )
    return ()


def check_measured(quantizer: Quantizer, state: Any, path: str) -> None:
    """Raises ValueError for a range that was never measured, if its values are known (outside of compiled programs)."""
    if quantizer.observe is None or isinstance(count := state.get("count", 1), Tracer):
        return
    if np.any(np.asarray(count) == 0):
        raise ValueError(
            f"the range of the inputs of {path!r} was never measured, and {quantizer.name!r} needs it. Train the model "
            "(its first batches measure it), or pass the variables through models.calibrate(model, variables, x)."
        )


def changed_ranges(variables: Variables, states: dict[str, Any]) -> dict[str, Any]:
    """Returns {collection: its new value} if any of the measured states differs from the variables', else {}."""
    before = variables.get(RANGES, {})
    old = jax.tree.leaves({name: before[name] for name in states})
    is_changed = any(a is not b for a, b in zip(jax.tree.leaves(states), old, strict=True))
    return {RANGES: {**before, **states}} if is_changed else {}


@contextlib.contextmanager
def bypassing(bypass: Bypass) -> Iterator[None]:
    """Leaves some weights and inputs of every quantized model in float, while a program is traced."""
    token = _BYPASS.set(bypass)
    try:
        yield
    finally:
        _BYPASS.reset(token)


def bypassed() -> Bypass:
    """Returns what is left in float now."""
    return _BYPASS.get()


def bypasses_weight(name: str) -> bool:
    """Tells whether a weight is left in float now."""
    weights = _BYPASS.get().weights
    return weights is None or name in weights


def bypasses_input(quantizer: Quantizer, path: str, x: Array) -> bool:
    """Tells whether a layer's inputs are left in float now, and records them if they are to be."""
    bypass = _BYPASS.get()
    if bypass.record is None or quantizer.from_range is None:
        return bypass.inputs
    bypass.record(path, x)
    return True


def lacks_zero(quantizer: Quantizer) -> bool:
    """Tells whether inputs under a one-bit quantizer are +1 and -1, so that a convolution cannot pad with 0."""
    return quantizer.bits == 1 and _zero_becomes_another(quantizer.init, quantizer.apply)


@functools.lru_cache(maxsize=64)
def _zero_becomes_another(init: Callable[..., Any], apply: Callable[..., Array]) -> bool:
    with jax.ensure_compile_time_eval():
        zeros = jnp.zeros((1, 1))
        return bool(apply(init(zeros), zeros)[0, 0] != 0)
