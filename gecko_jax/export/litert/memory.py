"""The arena of a LiteRT model, planned before it ships: TFLM reads the plan from the model's metadata and obeys it."""

from __future__ import annotations

import math
from typing import NamedTuple

from gecko_jax.export.litert.model import LiteModel
from gecko_jax.integer.arena import ArenaPlan, plan_arena
from gecko_jax.integer.tflm_memory import OFFLINE_PLAN_NAME, as_tflm, offline_plan
from gecko_jax.programs import Lifetime


class PlannedModel(NamedTuple):
    """A model with its memory.

    Attributes:
      model: with the plan among its metadata.
      arena: the plan, of sizes that are multiples of 16 bytes, as TFLM takes them.
    """

    model: LiteModel
    arena: ArenaPlan


def with_memory(model: LiteModel) -> PlannedModel:
    """Plans the arena of a model for one example.

    A reshaped tensor lies where its input lies; TFLM then copies nothing.

    Args:
      model: from `lower`, without metadata.
    """
    owners, written, read = list(range(len(model.tensors))), {model.input: 0}, {model.input: 0}
    for step, operator in enumerate(model.operators):
        if operator.code == "RESHAPE":
            owners[operator.output] = owners[operator.inputs[0]]
        written.setdefault(owners[operator.output], step)
        for number in (*operator.inputs, operator.output):
            if owners[number] in written:
                read[owners[number]] = step
    read[owners[model.output]] = len(model.operators) - 1
    sizes = {number: math.prod(model.tensors[number].shape) for number in written}
    plan = plan_arena(as_tflm([Lifetime(sizes[number], written[number], read[number]) for number in written]))
    places = dict(zip(written, plan.offsets, strict=True))
    offsets = [None if tensor.data is not None else places[owners[n]] for n, tensor in enumerate(model.tensors)]
    return PlannedModel(model._replace(metadata={OFFLINE_PLAN_NAME: offline_plan(offsets)}), plan)
