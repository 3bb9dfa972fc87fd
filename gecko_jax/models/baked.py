"""A quantized model as a plain function: for converters that know JAX or Flax, but not what intercepts a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from gecko_jax import trees
from gecko_jax.models.quantized_layers import weight_codes
from gecko_jax.models.quantizer_states import Bypass, bypassing, with_states_of, without_states
from gecko_jax.types import Array, Codes, Model, Variables


def baked(model: Model, variables: Variables, x: Array) -> Callable[[Array], Any]:
    """Returns a quantized model as a plain function of its inputs, without parameters and without interception.

    `models.quantized` changes what layers compute while they are called, and a converter that replaces `nn.Dense` by a
    layer of its own would lose that. This function calls no layer: its weights are constants, codes * scale, and its
    input quantizers are arithmetic between them. It computes what `model.apply` does, and its gradient by x is the
    straight-through one.

    Args:
      model: a quantized or float model.
      variables: its variables, the ranges of its inputs measured.
      x: inputs [b, ...]; only shape and type matter. For them the model is traced at once; inputs of another shape have
        it traced again in their first call, when nothing may replace its layers.

    Returns:
      x -> the model's outputs.

    Raises:
      ValueError: as of a call of the model, such as a range that was never measured.

    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=(4,)), jnp.ones((2, 5))
    >>> model = models.quantized(model, [(".*", quantizers.ternary(), quantizers.binary())], float_layers=())
    >>> variables = model.init(jax.random.key(0), x)
    >>> exported = jax.export.export(jax.jit(baked(model, variables, x)))(jax.ShapeDtypeStruct((2, 5), jnp.float32))
    >>> bool((exported.call(x) == model.apply(variables, x)[0]).all())
    True
    """
    with jax.ensure_compile_time_eval():
        codes = weight_codes(model, variables, x)

        def number(name: str, leaf: Array) -> Array:
            return _number(codes[name], leaf) if name in codes else leaf

        network = without_states(variables)
        network = {**network, "params": trees.map_named(number, network["params"])}
        constants = with_states_of(network, variables)
    programs: dict[Any, Callable[[Array], Any]] = {}

    def predict(x: Array) -> Any:
        key = jnp.shape(x), jnp.result_type(x)
        if key not in programs:
            programs[key] = _traced(model, constants, frozenset(codes), jax.ShapeDtypeStruct(*key))
        return programs[key](jnp.asarray(x))

    key = jnp.shape(x), jnp.result_type(x)
    programs[key] = _traced(model, constants, frozenset(codes), jax.ShapeDtypeStruct(*key))
    return predict


def _traced(model: Model, variables: Variables, names: frozenset[str], x: Any) -> Callable[[Array], Any]:
    with bypassing(Bypass(weights=names)):
        program, shapes = jax.make_jaxpr(lambda x: model.apply(variables, x)[0], return_shape=True)(x)
    structure = jax.tree.structure(shapes)
    return lambda x: jax.tree.unflatten(structure, jaxpr_as_fun(program)(x))


def _number(codes: Codes, leaf: Array) -> Array:
    return ((codes.values.astype(codes.scale.dtype) - codes.zero_point) * codes.scale).astype(leaf.dtype)
