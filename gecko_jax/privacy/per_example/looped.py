"""Rewrites a loss for a loop on a CPU: its convolutions become products over windows.

The same numbers up to rounding. `gecko_jax.convolutions` says why; here the traced loss is rewritten, whatever
layers it was written with. Grouped, dilated or not two-dimensional convolutions stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gecko_jax.convolutions import as_matmul
from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.programs import Step, read, run_step


def with_windows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function with its convolutions computed as products over windows."""

    def run(params, example):
        graph, structure = graphs.trace(function, params, example)
        values = dict(zip((*graph.params, *graph.data), jax.tree.leaves((params, example)), strict=True))
        for step in graph.steps:
            inputs = [read(values, atom) for atom in step.inputs]
            with jax.named_scope(step.scope or "loss"):
                outputs = [_convolution(step, *inputs)] if is_convolution(step) else run_step(step, inputs)
            values.update(zip(step.outputs, outputs, strict=True))
        return structure.unflatten([read(values, atom) for atom in graph.outputs])

    return run


def is_convolution(step: Step) -> bool:
    """Tells whether a step is one of XLA's convolutions."""
    return step.name == graphs.CONVOLUTION


def _convolution(step: Step, images, kernel):
    options = step.params
    if options["batch_group_count"] != 1 or options["preferred_element_type"] not in (None, images.dtype):
        return run_step(step, (images, kernel))[0]
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "dimension_numbers", "feature_group_count")
    return as_matmul(images, kernel, **{name: options[name] for name in (*names, "precision")})
