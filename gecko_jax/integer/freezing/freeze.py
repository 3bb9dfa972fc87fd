"""Freezes a model: traces it, reads its operations, measures their ranges, and emits integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, programs
from gecko_jax.integer.freezing.emission import Emitter
from gecko_jax.integer.freezing.ranges import constants_of, known_codes, ranges_of
from gecko_jax.integer.freezing.reader import Reader
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.programs import layer_scopes
from gecko_jax.trees import first_not_finite
from gecko_jax.types import Array, Model, Variables


def freeze(model: Model, variables: Variables, calibration_x: Array) -> IntegerGraph:
    """Freezes a model into the integer network that a device runs.

    The model is traced, not rewritten: any Flax module of dense layers, convolutions, BatchNorm, residual sums, pools,
    ReLU and quantizers of `models.quantized`. BatchNorm becomes part of the layer before it. Codes of quantized weights
    stay as they are (1 bit, ternary, 2 to 8 bits); other weights become int8 with one scale for each output. Inputs of
    layers have the codes of their quantizer; other activations become int8, from their smallest to their largest number
    on the calibration data. A sign becomes a comparison of the sum with an integer threshold, exactly, through
    BatchNorm, ReLU and maximum pools. Borders are the code of 0; networks of -1 and +1, which have none, have +1 there.

    Args:
      model: any model; its output is one array [b, ...], such as logits.
      variables: its variables, trained.
      calibration_x: inputs [b, ...] that span what the device will see; a few hundred.

    Returns:
      The IntegerGraph.

    Raises:
      ValueError: an operation that integers cannot compute, with its layer; an activation whose range was never
        calibrated; a sum that may leave int32; inputs or variables that are not finite.

    Source: Jacob et al. 2018 (arXiv 1712.05877); for thresholds, Umuroglu et al. 2017, FINN (arXiv 1612.07119), 4.2.2.

    >>> from gecko_jax import models
    >>> x = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)
    >>> model = models.create("mlp", 3, hidden=(4,))
    >>> graph = freeze(model, model.init(jax.random.key(0), x), x)
    >>> [type(node).__name__ for node in graph.nodes], graph.run(x).dtype
    (['Dense', 'Dense'], dtype('int8'))
    """
    x = _checked(model, variables, calibration_x)
    with layer_scopes() as kinds:
        program, shapes = programs.trace(lambda v, rows: model.apply(v, rows)[0], variables, x)
    if not isinstance(shapes, jax.ShapeDtypeStruct) or len(shapes.shape) < 2 or shapes.shape[0] != len(x):
        raise ValueError(
            f"model returns {jax.tree.map(lambda leaf: leaf.shape, shapes)} for {len(x)} examples; expected one array "
            f"({len(x)}, ...). Return the logits alone, with the examples along the first axis."
        )
    if not program.steps:
        raise ValueError("model computes nothing of its inputs; there is nothing to freeze.")
    leaves, live = jax.tree.leaves(variables), programs.needed(program.steps, program.outputs)
    reader = Reader(program, constants_of(program, leaves, live), kinds)
    output = reader.read(program.inputs[-1], live)
    operations, uses = reader.operations, reader.operations.uses(output)
    measured = {n: each.value for n, each in enumerate(operations.all) if uses[n] and each.value is not None}
    ranges = ranges_of(program, [*leaves, jnp.asarray(x)], live, measured.values())
    known = known_codes(model, variables, x) if model.rules else []
    emitter = Emitter(operations, uses, {n: ranges[value] for n, value in measured.items()}, known)
    for number, count in enumerate(uses):
        if count > 1:
            emitter.tensor(number)  # in order, so that the recursion of a deep network stays short
    written = emitter.tensor(output)
    return IntegerGraph(tuple(emitter.building.tensors), tuple(emitter.building.nodes), emitter.input, written)


def _checked(model: Any, variables: Any, x: Any) -> np.ndarray:
    if not isinstance(model, Model):
        raise ValueError(
            f"model is a {type(model).__name__}; expected a Model: freeze(models.from_linen(module), ...)."
        )
    if not isinstance(variables, Mapping):
        raise ValueError(f"variables are a {type(variables).__name__}; expected what model.init returns.")
    if (name := first_not_finite(variables)) is not None:
        raise ValueError(f"variables hold a NaN or an infinity in {name}; train the model again, or load another one.")
    if not hasattr(x, "shape") or np.ndim(x) < 2:
        raise ValueError(f"calibration_x is a {type(x).__name__} of {np.ndim(x)} axes; expected one array [b, ...].")
    x = np.asarray(checks.finite("calibration_x", checks.unmasked("calibration_x", x)))
    if x.dtype.kind != "f":
        raise ValueError(f"calibration_x is {x.dtype}; expected floats, as the model was trained on.")
    x = checks.not_empty("calibration_x", x).astype(np.float32)
    return x if len(x) > 1 else np.concatenate([x, x])
