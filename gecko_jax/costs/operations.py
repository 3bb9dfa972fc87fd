"""Multiply-accumulates by layer and by precision, bit operations, and closed forms for the common layers.

Counted for ONE example: positions in the padding count, zeros in the weights count, elementwise work (normalisation,
activations, pooling) does not. `cost` counts the products of the program (`products`); the closed forms here know
layers outside loops.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gecko_jax.models.trace import Call

FLOAT_BITS = 32


class LayerOperations(NamedTuple):
    """One layer's work.

    Attributes:
      path, kind: which layer, and its Linen class.
      macs: multiply-accumulates for one example.
      weight_bits, input_bits: precision of the two factors; a float counts with the width of its type.
    """

    path: str
    kind: str
    macs: int
    weight_bits: int
    input_bits: int

    @property
    def bops(self) -> int:
        """Bit operations: MACs * weight bits * input bits (Baskin et al. 2018 without the accumulator's term)."""
        return self.macs * self.weight_bits * self.input_bits


def macs(call: Call) -> int:
    """Multiply-accumulates of one call for one example.

    Dense: positions * in * out. Conv: prod(output) * prod(kernel window) * in / groups, whatever strides, dilation and
    padding. ConvTranspose: prod(input) * prod(kernel window) * out. Embed: none, it is a lookup.

    Raises:
      ValueError: a layer that follows none of these rules, so that a total is never silently too small.
    """
    given, out, kernel = call.input[1:], call.output[1:], call.kernel
    if call.kind == "Embed":
        return 0
    if call.kind == "ConvTranspose":
        return math.prod(given[:-1]) * math.prod(kernel)
    if call.kind == "ConvLocal":
        return math.prod(kernel)
    if call.kind == "Einsum":
        raise ValueError(f"layer {call.path!r} (Einsum): no rule for any equation. `cost` counts it in the program.")
    if len(kernel) == len(out) + 1 and kernel[-1] == out[-1] and given[-1] % kernel[-2] == 0 and len(given) == len(out):
        return math.prod(out) * math.prod(kernel[:-1])
    for split in range(1, len(kernel)):  # axes of the kernel that are summed over
        summed, kept = kernel[:split], kernel[split:]
        if given[-split:] == summed and out[-len(kept) :] == kept and given[:-split] == out[: -len(kept)]:
            return math.prod(given[:-split]) * math.prod(kernel)
    raise ValueError(
        f"layer {call.path!r} ({call.kind}) maps {call.input} to {call.output} by a kernel {call.kernel}: no rule for "
        "its multiply-accumulates. `cost` counts them in the program."
    )


def operations(calls: list[Call]) -> tuple[LayerOperations, ...]:
    """The work of each call of `models.trace`, in call order."""
    return tuple(
        LayerOperations(
            call.path,
            call.kind,
            macs(call),
            call.weight.bits if call.weight else FLOAT_BITS,
            call.inputs.bits if call.inputs else FLOAT_BITS,
        )
        for call in calls
    )


def by_precision(layers: tuple[LayerOperations, ...]) -> dict[tuple[int, int], int]:
    """{(weight bits, input bits): MACs}, the widest first."""
    totals: dict[tuple[int, int], int] = {}
    for layer in layers:
        key = (layer.weight_bits, layer.input_bits)
        totals[key] = totals.get(key, 0) + layer.macs
    return dict(sorted(totals.items(), reverse=True))
