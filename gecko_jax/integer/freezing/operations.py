"""What a model computes, in real numbers: a list of operations on whole activations."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# Of one number each, the same for all positions of a channel. Arrays in their settings have one axis: channels or 1.
#   affine  scale * x + shift       clamp  low <= x <= high       round  to the nearest integer
ELEMENTWISE = ("affine", "clamp", "round")
LINEAR = ("dense", "conv")


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One operation.

    Attributes:
      kind: "input", "dense", "conv", "add", "max_pool", "sum_pool", "average_pool", "reshape", "pad", "sign", or one of
        ELEMENTWISE.
      inputs: numbers of the operations that it reads.
      shape: of its result for one example.
      path: of the layer that computes it.
      settings: those of its kind.
      value: number of its result in the program; None if it is not measured.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    path: str
    settings: dict[str, Any]
    value: int | None = None


class Operations:
    """A list of operations in which no two are the same."""

    def __init__(self):
        self.all: list[Operation] = []
        self._known: dict[Any, int] = {}

    def __getitem__(self, number: int) -> Operation:
        return self.all[number]

    def add(self, operation: Operation) -> int:
        """Returns the number of an operation, which is new unless an equal one is in the list."""
        settings = tuple((name, _key(value)) for name, value in sorted(operation.settings.items()))
        key = operation.kind, operation.inputs, operation.shape, settings
        if key not in self._known:
            self._known[key] = len(self.all)
            self.all.append(operation)
        return self._known[key]

    def uses(self, output: int) -> list[int]:
        """Counts how often each operation is read by those that the output depends on; 0 for the others.

        Args:
          output: number of an operation, which counts as read once.
        """
        counts = [0] * len(self.all)
        counts[output] = 1
        for number in range(output, -1, -1):
            if counts[number]:
                for source in self.all[number].inputs:
                    counts[source] += 1
        return counts


def _key(value: Any) -> Any:
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
