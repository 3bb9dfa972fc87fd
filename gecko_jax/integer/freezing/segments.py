"""Elementwise operations in a row, as what one node computes: affine, clipped, and rounded to a grid or not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gecko_jax.integer.freezing.operations import Operation
from gecko_jax.integer.nodes import IntegerTensor

MAX_CODES = 256
NEAR = 1e-4  # of a code; how close float32 constants must come to an integer


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """y = clip(scale * x + shift, low, high); of a grid y = factor * round(that) + offset, with integers low and high.

    Attributes:
      scale, shift: [channels] or [1].
      low, high: numbers.
      rounded: whether it ends on a grid.
      factor, offset: of the grid.
    """

    scale: np.ndarray
    shift: np.ndarray
    low: float = -math.inf
    high: float = math.inf
    rounded: bool = False
    factor: float = 1.0
    offset: float = 0.0

    @property
    def uniform(self) -> bool:
        """Whether it is one positive factor and nothing is added."""
        return self.scale.size == 1 and self.scale[0] > 0 and not np.any(self.shift) and not self.offset

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Its factors and shifts, those of the grid with them: what the result is but for clipping and rounding."""
        return self.factor * self.scale, self.factor * self.shift + self.offset

    @property
    def increasing(self) -> bool:
        """Whether a larger number never becomes a smaller one."""
        return bool(np.all(self.scale > 0))

    @property
    def same(self) -> bool:
        """Whether it changes nothing."""
        free = math.isinf(self.low) and math.isinf(self.high) and not self.rounded
        return free and self.uniform and math.isclose(self.scale[0], 1.0, rel_tol=1e-6)

    def span(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the smallest and the largest result of each channel, for numbers from `low` to `high`."""
        ends = [np.clip(self.scale * end + self.shift, self.low, self.high) for end in (low, high)]
        if self.rounded:
            ends = [self.factor * np.round(end) + self.offset for end in ends]
        return np.minimum(*ends), np.maximum(*ends)

    def scheme(self, smallest: np.ndarray, largest: np.ndarray) -> IntegerTensor:
        """Returns a tensor, without a shape, for results from `smallest` to `largest` of each channel.

        Raises:
          ValueError: a range that is empty or not finite, a grid of more than 8 bits or without a code for 0. The
            caller adds the layer's name.
        """
        low, high = float(smallest.min()), float(largest.max())
        if self.rounded:
            return self._grid(low, high)
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / (MAX_CODES - 1)))
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"has activations from {low:g} to {high:g} on calibration_x: their range was never calibrated. Pass "
                "calibration_x that reaches the layer with other numbers than 0, or remove the layer"
            )
        zero = int(np.clip(round(-128 - low / scale), -128, 127))
        ends = [zero + np.round(np.float64(end) / scale) for end in (self.low, self.high)]
        low_code, high_code = (int(np.clip(end, -128, 127)) for end in ends)
        return IntegerTensor("", (), scale, zero, low_code, high_code, 8)

    def _grid(self, low: float, high: float) -> IntegerTensor:
        if math.isinf(self.low) or math.isinf(self.high):
            first, last = (int(np.round((end - self.offset) / self.factor)) for end in (low, high))
        else:
            first, last = round(self.low), round(self.high)
        if last - first >= MAX_CODES or last <= first:
            raise ValueError(f"rounds to the integers from {first} to {last}; a grid has 2 to {MAX_CODES} codes")
        move = -128 - first if first < -128 or last > 127 else 0
        zero_point = -self.offset / self.factor + move
        if abs(zero_point - round(zero_point)) > NEAR or not -128 <= round(zero_point) <= 127:
            raise ValueError(f"rounds to a grid whose code of 0 would be {zero_point:g}; it must be one of the codes")
        bits = max(2, (last - first).bit_length())
        scale = float(np.float32(self.factor))

        return IntegerTensor("", (), scale, round(zero_point), first + move, last + move, bits)


def segments(chain: Sequence[Operation]) -> list[Segment]:
    """Joins elementwise operations into as few segments as compute the same.

    Args:
      chain: "affine", "clamp" and "round" operations, the first one first.

    Raises:
      ValueError: without a place: a clamp with another bound in each channel.
    """
    result = [Segment(np.ones(1), np.zeros(1))]
    for operation in chain:
        last, settings = result[-1], operation.settings
        if operation.kind == "affine":
            joined = _scaled(last, settings["scale"], settings["shift"])
        elif operation.kind == "clamp":
            joined = _clipped(last, settings["low"], settings["high"])
        else:
            joined = None if last.rounded else dataclasses.replace(last, rounded=True)
        if joined is None:
            result += segments([operation])
        else:
            result[-1] = joined
    return result


def _scaled(last: Segment, scale: np.ndarray, shift: np.ndarray) -> Segment | None:
    clipped = math.isfinite(last.low) or math.isfinite(last.high)
    scalar = scale.size == shift.size == 1 and scale[0] > 0
    if (clipped or last.rounded) and not scalar:
        return None
    if last.rounded:
        a, b = float(scale[0]), float(shift[0])
        return dataclasses.replace(last, factor=a * last.factor, offset=a * last.offset + b)
    joined = dataclasses.replace(last, scale=last.scale * scale, shift=last.shift * scale + shift)
    if clipped:
        low, high = (float(scale[0] * end + shift[0]) for end in (last.low, last.high))
        joined = dataclasses.replace(joined, low=low, high=high)
    return joined


def _clipped(last: Segment, low: np.ndarray, high: np.ndarray) -> Segment:
    if low.size > 1 or high.size > 1:
        raise ValueError("clips each channel to other bounds, and codes have one smallest and one largest")
    first, end = float(low[0]), float(high[0])
    if last.rounded:
        first = math.ceil((first - last.offset) / last.factor - NEAR) if math.isfinite(first) else first
        end = math.floor((end - last.offset) / last.factor + NEAR) if math.isfinite(end) else end
    low_end, high_end = (min(max(bound, first), end) for bound in (last.low, last.high))
    return dataclasses.replace(last, low=low_end, high=high_end)
