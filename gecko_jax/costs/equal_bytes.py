"""Train large, then compress: a wide transformer, narrowed and quantized until it takes no more bytes than a small one.

    budget = costs.cost(small, small_variables, x).deployed_bytes.value
    candidates = costs.compressed(wide, wide_variables, x, budget, bits=(8, 4))
    best = max(candidates, key=lambda c: accuracy(c.model, c.variables))          measured, on validation rows

Each number of bits gives one candidate: the widest MLPs that fit the budget. Which of them is best is a question to
validation rows, and so is whether any is better than the small model.

Source: Li et al. 2020, "Train large, then compress" (arXiv 2002.11794).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import quantizers
from gecko_jax.checks import integer, sizes
from gecko_jax.integer.packed_file import stored_bytes
from gecko_jax.integer.packing import pack
from gecko_jax.models.narrowing import with_mlp_width
from gecko_jax.models.quantized import quantized
from gecko_jax.models.trace import trace
from gecko_jax.types import Array, Estimate, Model, Variables

FLOAT_BITS = 32


class Compressed(NamedTuple):
    """A compressed transformer.

    Attributes:
      model, variables: quantized, unless bits is 32; train on to recover what compression lost.
      bits: of each weight and table; biases and norms stay in float.
      mlp_width: hidden units of each block's MLP.
      deployed_bytes: as of `costs.cost`, counted.
    """

    model: Model
    variables: Variables
    bits: int
    mlp_width: int
    deployed_bytes: Estimate


def compressed(
    model: Model, variables: Variables, x: Array, max_bytes: int, bits: Sequence[int] = (8, 6, 4, 3, 2)
) -> tuple[Compressed, ...]:
    """Narrows and quantizes a transformer to a budget of bytes, once for each number of bits.

    Args:
      model: a transformer of `models.create`, in float; `models.prune_heads` may have removed heads of it.
      variables: its variables.
      x: token rows, of which only shapes and types matter.
      max_bytes: the budget for `costs.cost(...).deployed_bytes`.
      bits: widths of the weights to try, 2 to 8, or 32 for float; `quantizers.uniform` rounds kernels and tables.

    Returns:
      A Compressed for each number of bits that fits, in the order of `bits`, its MLPs as wide as the budget allows.

    Raises:
      ValueError: another model; a budget below what every candidate takes with MLPs of one unit.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.create("transformer", 32, layers=1, width=16, heads=2, max_length=8), jnp.ones((1, 8), int)
    >>> variables = jax.jit(model.init)(jax.random.key(0), x)
    >>> [(c.bits, c.mlp_width, int(c.deployed_bytes.value)) for c in compressed(model, variables, x, 6000, bits=(4,))]
    [(4, 64, 3904)]
    """
    budget = integer("max_bytes", max_bytes, 1)
    sizes("bits", bits, "bits of a weight")
    if wrong := [number for number in bits if not 2 <= number <= 8 and number != FLOAT_BITS]:
        raise ValueError(f"bits={tuple(bits)!r} holds {wrong[0]}; expected 2 to 8, or {FLOAT_BITS} for float.")
    calls = {call.path: call.output[-1] for call in trace(model, variables, x)}
    widest = max((width for path, width in calls.items() if path.endswith("mlp/up")), default=1)
    candidates = (_widest(model, variables, x, number, (widest, budget)) for number in bits)
    fitting = tuple(candidate for candidate in candidates if candidate is not None)
    if not fitting:
        least = min(_candidate(model, variables, x, number, 1).deployed_bytes.value for number in bits)
        raise ValueError(
            f"max_bytes={max_bytes} is below the {least:,.0f} bytes that {min(bits)} bits take with MLPs of one unit; "
            "give more bytes, fewer bits, or a model with fewer layers, tokens or heads."
        )
    return fitting


def _widest(
    model: Model, variables: Variables, x: Array, bits: int, limits: tuple[int, int]
) -> Compressed | None:
    """Returns the widest candidate of these bits within (units, bytes); None if not even one unit fits."""
    widest, budget = limits

    def priced(units: int) -> Compressed:
        return _candidate(model, variables, x, bits, units)

    def fits(candidate: Compressed) -> bool:
        return candidate.deployed_bytes.value <= budget

    candidate = priced(widest)
    if not fits(candidate):
        # Each unit has a row, a column and a bias in each block, and a scale if it is quantized; words are padded.
        width = variables["params"]["block0"]["mlp"]["up"]["kernel"].shape[0]
        blocks = sum(name.startswith("block") for name in variables["params"])
        per_unit = blocks * (width * bits / 4 + (4 if bits == FLOAT_BITS else 8))
        units = widest - math.ceil((candidate.deployed_bytes.value - budget) / per_unit)
        candidate = priced(max(units, 1))
    while not fits(candidate):
        if candidate.mlp_width == 1:
            return None
        candidate = priced(candidate.mlp_width - 1)
    while candidate.mlp_width < widest and fits(wider := priced(candidate.mlp_width + 1)):
        candidate = wider
    return candidate


def _candidate(model: Model, variables: Variables, x: Array, bits: int, units: int) -> Compressed:
    smaller, values = with_mlp_width(model, variables, units)
    if bits < FLOAT_BITS:
        smaller = quantized(smaller, [("", quantizers.uniform(bits), None)], float_layers=())
    # Without a batch normalization to fold, a device holds the payload of the packed file.
    payload = stored_bytes(pack(smaller, values, x)).payload
    return Compressed(smaller, values, bits, units, Estimate(payload, kind="counted", unit="B"))
