"""Representations: what a layer of the model computes for each record, which may tell more than the outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.programs import layer_path
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Array, Model, Variables

ROWS_PER_CALL = 64


def representations(
    model: Model,
    variables: Variables,
    x: Array,
    layer: str = "final_norm",
    padding: int | None = 0,
    ensemble: bool = False,
    batch_size: int = ROWS_PER_CALL,
) -> np.ndarray:
    """Returns a layer's output for each record, in evaluation mode; of token rows, its mean over the tokens.

    The mean is over tokens that are not padding. A transform on the model (LoRA, adapters, quantization) takes part: it
    is the output that the next layer receives.

    Args:
      model: any model made of Linen modules.
      variables: its variables; of m models with a leading axis if `ensemble`.
      x: records [n, ...]; token rows are integers [n, t].
      layer: path of a module, such as "final_norm" or "block0/mlp"; "" for the model's own output.
      padding: the token that does not count; None: all tokens do. Read for token rows alone.
      ensemble: whether variables have a leading axis of m models.
      batch_size: records in a call.

    Returns:
      float32 [n, d], or [m, n, d] of an ensemble.

    Raises:
      ValueError: no such layer, one that is called several times, inside a compiled loop, or whose output is neither
        [n, d] nor, for token rows, [n, t, d]; a row of padding alone; no records; values that are not finite.

    Source: Plant, Giuffrida and Gkatzia, "You Are What You Write" (2022), sec. 3: averaged representations as what an
    attacker sees.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 2, hidden=(3,)), np.ones((4, 5), np.float32)
    >>> representations(model, model.init(jax.random.key(0), x), x, layer="").shape
    (4, 2)
    """
    rows = checks.not_empty("x", np.asarray(checks.unmasked("x", x)))
    real = np.ones((len(rows), 1), bool)
    if rows.ndim == 2 and rows.dtype.kind in "iu":
        real = np.ones(rows.shape, bool) if padding is None else rows != padding
        if not real.any(1).all():
            raise ValueError(f"x[{int(real.any(1).argmin())}] is padding alone; leave the row out.")
    if ensemble:
        each = [take(variables, i) for i in range(row_count("variables", variables))]
        return np.stack([representations(model, one, rows, layer, padding, batch_size=batch_size) for one in each])
    program, device_variables = _program(model, layer), jax.device_put(variables)
    size = min(checks.integer("batch_size", batch_size, 1), len(rows))
    values = by_blocks(lambda i: program(device_variables, rows[i], real[i]), len(rows), size, full=True)
    return checks.finite(f"the output of layer {layer!r}", values)


@functools.lru_cache(maxsize=32)
def _program(model: Model, layer: str) -> Callable[[Variables, Array, Array], Array]:
    def read(variables: Variables, x: Array, real: Array) -> Array:
        outputs: list[Any] = []
        paths: dict[str, None] = {}

        def note(next_fun, args, kwargs, context):
            output = next_fun(*args, **kwargs)
            if context.method_name == "__call__":
                path = layer_path(context.module)
                paths[path] = None
                if path == layer:
                    outputs.append(output)
            return output

        with nn.intercept_methods(note):
            model.apply(variables, x)
        checks.one_of("layer", layer, paths)
        if len(outputs) > 1:
            raise ValueError(
                f"layer {layer!r} is called {len(outputs)} times, by itself or in a compiled loop; name a layer that "
                "is called once."
            )
        return _pooled(outputs[0], x, real, layer)

    program = surroundings.jit(read)

    def call(variables, x, real):
        try:
            return program(variables, x, real)
        except jax.errors.UnexpectedTracerError as error:
            raise ValueError(
                f"layer {layer!r} runs inside nn.jit, nn.remat, nn.scan or nn.vmap, where its output cannot be read; "
                "name a layer outside of it."
            ) from error

    return call


def _pooled(output: Any, x: Array, real: Array, layer: str) -> Array:
    """Returns features [b, d] of a layer's output."""
    shape = jnp.shape(output) if isinstance(output, jax.Array) else None
    tokens = x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.integer)
    if shape is not None and len(shape) == 2 and shape[0] == x.shape[0]:
        return output.astype(jnp.float32)
    if shape is not None and tokens and len(shape) == 3 and shape[:2] == x.shape:
        weights = real.astype(jnp.float32)[..., None]
        return (jnp.where(weights > 0, output.astype(jnp.float32), 0.0)).sum(1) / weights.sum(1)
    expected = "(rows, features), or (rows, tokens, features)" if tokens else "(rows, features)"
    kind = f"of shape {shape}" if shape is not None else f"that is a {type(output).__name__}"
    raise ValueError(f"layer {layer!r} has an output {kind} for x {x.shape}; expected {expected}. Name another layer.")
