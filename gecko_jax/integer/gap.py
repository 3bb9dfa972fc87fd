"""How far an integer network is from the model that it was frozen from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from gecko_jax.types import Array, Model, Variables

if TYPE_CHECKING:
    from gecko_jax.integer.graph import IntegerGraph


class Gap(NamedTuple):
    """The difference between an integer network and its model on data.

    Attributes:
      rows: examples compared.
      differing: share of outputs whose code is not that of the model's output.
      largest, mean: absolute difference of the outputs, in units of the last code.
      agreement: share of examples with the same largest output.
    """

    rows: int
    differing: float
    largest: float
    mean: float
    agreement: float

    def __str__(self) -> str:
        return (
            f"{self.rows:,} examples: {100 * self.differing:.1f} % of the integer outputs differ from the model's, by "
            f"{self.mean:.2f} codes in the mean and {self.largest:.1f} at most; {100 * self.agreement:.1f} % have the "
            "same largest output"
        )


def gap_of(graph: IntegerGraph, model: Model, variables: Variables, x: Array) -> Gap:
    """Compares an integer network with a model on data.

    Args:
      graph: from `freeze`.
      model, variables: a float or a fake-quantized model, such as the one that was frozen.
      x: inputs [b, ...], floats.
    """
    tensor = graph.tensors[graph.output]
    expected = np.asarray(model.apply(variables, jnp.asarray(x))[0], np.float64)
    codes = np.asarray(graph.run(jnp.asarray(x)), np.float64)
    if codes.shape != expected.shape:
        raise ValueError(
            f"model returns {expected.shape} for x; the integer network {codes.shape}. Pass its own model."
        )
    of_model = np.clip(np.round(expected / tensor.scale) + tensor.zero_point, tensor.low, tensor.high)
    distance = np.abs((codes - tensor.zero_point) - expected / tensor.scale)
    flat = [each.reshape(len(codes), -1) for each in (codes, expected)]
    same = flat[0].max(1) == flat[0][np.arange(len(codes)), flat[1].argmax(1)]  # ties of codes count as agreement
    differing = float((codes != of_model).mean())
    return Gap(len(codes), differing, float(distance.max()), float(distance.mean()), float(same.mean()))
