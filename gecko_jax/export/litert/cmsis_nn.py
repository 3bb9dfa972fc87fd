"""The factors of a network's layers as C arrays, for whoever calls the functions of CMSIS-NN without TFLM."""

from __future__ import annotations

import re

import numpy as np

from gecko_jax.export.c99 import text
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import Add, IntegerTensor, Rescale, Weighted


def cmsis_header(graph: IntegerGraph) -> str:
    """Returns a header with what CMSIS-NN takes beside weights and biases: multipliers, shifts, offsets and clips.

    Args:
      graph: of `integer.freeze`, with a `Rescale` in each layer with weights and in each sum of two tensors.

    Returns:
      The text of cmsis_nn.h. Layer n is the n-th that has factors, LAYER<n>_<path>.

    >>> from gecko_jax.integer.nodes import Dense
    >>> tensors = IntegerTensor("input", (2,), 0.5, 3), IntegerTensor("y", (1,), 0.25, -4)
    >>> stage = Rescale(np.array([2**30], np.int32), np.array([-7], np.int32), -128, 127)
    >>> dense = Dense("Dense_0", (0,), 1, np.ones((2, 1), np.int8), np.ones(1), 8, np.zeros(1, np.int32), stage)
    >>> lines = cmsis_header(IntegerGraph(tensors, (dense,), 0, 1)).splitlines()
    >>> [line for line in lines if "OFFSET" in line]
    ['#define LAYER0_DENSE_0_INPUT_OFFSET -3', '#define LAYER0_DENSE_0_OUTPUT_OFFSET -4']
    """
    parts = [_HEAD]
    layers = [node for node in graph.nodes if isinstance(node, (Weighted, Add))]
    for number, node in enumerate(layers):
        name = f"layer{number}_{re.sub('[^a-z0-9]+', '_', node.path.lower())}".rstrip("_")
        read, written = [graph.tensors[each] for each in node.inputs], graph.tensors[node.output]
        stage, outputs = node.stage, node.weights.shape[-1] if isinstance(node, Weighted) else 1
        if not isinstance(stage, Rescale):
            raise ValueError(f"{node.label} compares sums with thresholds, and has no factors.")
        parts.append(f"\n/* {node.path or 'the network itself'}: {type(node).__name__} */\n")
        parts.append(_defines(name.upper(), read, written, stage))
        if isinstance(node, Add):
            parts.append(f"#define {name.upper()}_LEFT_SHIFT {node.left_shift}\n")
            parts.append(text.array(f"{name}_input_multipliers", np.array(node.multipliers, np.int32)))
            parts.append(text.array(f"{name}_input_shifts", np.array(node.shifts, np.int32)))
        for what, values in (("multipliers", stage.multipliers), ("shifts", stage.shifts)):
            parts.append(text.array(f"{name}_{what}", np.broadcast_to(values, outputs).astype(np.int32)))
    return "".join(parts)


def _defines(name: str, read: list[IntegerTensor], written: IntegerTensor, stage: Rescale) -> str:
    offsets = [f"INPUT{n + 1}_OFFSET" for n in range(len(read))] if len(read) > 1 else ["INPUT_OFFSET"]
    values = {key: -tensor.zero_point for key, tensor in zip(offsets, read, strict=True)}
    values |= {"OUTPUT_OFFSET": written.zero_point, "ACTIVATION_MIN": stage.low, "ACTIVATION_MAX": stage.high}
    return "".join(f"#define {name}_{key} {value}\n" for key, value in values.items())


_HEAD = """#pragma once

#include <stdint.h>

/* What the functions of CMSIS-NN take beside the weights and biases of model.tflite: multipliers and shifts for each
   output (a positive shift is to the left), offsets (minus an input's zero point, an output's own), and the clip.
   arm_convolve_s8, arm_depthwise_conv_s8: cmsis_nn_per_channel_quant_params; dense layers are convolutions of 1 x 1. */
"""
