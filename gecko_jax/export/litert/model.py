"""A LiteRT model as plain data: tensors and operators with their settings, before they are encoded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class LiteTensor(NamedTuple):
    """A tensor of a model.

    Attributes:
      name: as tools show it.
      shape: with the batch, which is 1.
      scales: float32 [1] or [channels]; None for numbers that are not codes, such as a shape.
      zero_point: the code of 0.
      axis: of the channels if each has a scale of its own.
      data: int8 or int32 if constant; None for an activation, which is int8.
    """

    name: str
    shape: tuple[int, ...]
    scales: np.ndarray | None
    zero_point: int = 0
    axis: int = 0
    data: np.ndarray | None = None


class LiteOperator(NamedTuple):
    """A step of a model.

    Attributes:
      code: name in BuiltinOperator, such as "CONV_2D".
      version: the first one of the operator that has what is needed.
      inputs: numbers of tensors.
      output: number of a tensor.
      options: name of the table of settings, such as "Conv2DOptions"; "" for none.
      settings: the fields of that table.
    """

    code: str
    version: int
    inputs: tuple[int, ...]
    output: int
    options: str = ""
    settings: dict[str, Any] = {}


class LiteModel(NamedTuple):
    """A model.

    Attributes:
      tensors: all, constants too.
      operators: in the order in which they run.
      input, output: numbers of tensors.
      metadata: {name: bytes}.
    """

    tensors: tuple[LiteTensor, ...]
    operators: tuple[LiteOperator, ...]
    input: int
    output: int
    metadata: dict[str, bytes] = {}
