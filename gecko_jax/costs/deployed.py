"""The bytes that a device must hold: the packed file's payload, with each batch normalization folded.

In evaluation a BatchNorm is an affine map of each channel. A device therefore stores, instead of its four arrays,
  - as a rule two numbers a channel, a factor and an offset, in the widest type of the four;
  - before a sign (the input of a binary layer) one threshold a channel and the direction of the comparison: 16 bits
    for both if the compared value is the integer sum of a binary layer with binary inputs, else one number of that type
    and one bit. The sum must have fewer than 2^14 terms, and what lies between (an activation, a pool) be monotone.
`costs.memory` and the modeled energy follow the same convention. Biases, scales and normalization over an example
(LayerNorm, GroupNorm) count as they are stored. So does a BatchNorm inside a loop (`nn.scan`) and one that does more
than shift and scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from gecko_jax.costs.memory import VIEWS
from gecko_jax.costs.primitives import COUNTS
from gecko_jax.costs.program import CountedStep, Forward, Product
from gecko_jax.integer.packed_file import stored_bytes
from gecko_jax.integer.packing import PackedModel, PackedTensor, aligned
from gecko_jax.programs import Constant

_AFFINE = frozenset(("add", "sub", "mul", "div"))
_MONOTONE = _AFFINE | frozenset(("max", "min", "reduce_max", "reduce_window_max", "convert_element_type", "transpose"))
_PASSED = VIEWS | frozenset(("transpose",))
_COMPARED = frozenset(("ge", "gt", "lt", "le", "sign"))
_MAX_TERMS_OF_16_BIT_SUM = 1 << 14


class DeployedBytes(NamedTuple):
    """Bytes that a device holds of a model, by purpose.

    Attributes:
      codes: quantized weights, padding included.
      scales: the codes' scales and code books.
      normalization: folded batch normalizations.
      raw: everything else: biases, float layers.
      indices: where the weights of sparse layers lie.

    >>> DeployedBytes(codes=100, scales=4, normalization=16, raw=40).total
    160
    """

    codes: int
    scales: int
    normalization: int
    raw: int
    indices: int = 0

    @property
    def total(self) -> int:
        """The sum of all bytes."""
        return sum(self)


def deployed_bytes(packed: PackedModel, forward: Forward, bits: Callable[[Product], tuple[int, int]]) -> DeployedBytes:
    """Counts the bytes that a device must hold; see the module's head.

    Args:
      packed: the packed model.
      forward: its forward pass.
      bits: returns (weight bits, input bits) of a product.

    Returns:
      Bytes by purpose.
    """
    unfolded, folded = list(packed.tensors), 0
    for members in _batch_normalizations(packed):
        size = _folded_bytes(members, forward, bits)
        if size is not None:
            folded += size
            unfolded = [tensor for tensor in unfolded if tensor not in members]
    rest = stored_bytes(PackedModel(tuple(unfolded)))
    coded = [stored_bytes(PackedModel((tensor,))) for tensor in unfolded if tensor.scale is not None]
    codes = sum((part.code_bits + part.padding_bits) // 8 for part in coded)
    scales = sum(part.scale_bytes for part in coded)
    return DeployedBytes(codes, scales, folded, rest.payload - codes - scales - rest.index_bytes, rest.index_bytes)


def _batch_normalizations(packed: PackedModel) -> list[list[PackedTensor]]:
    """Groups the arrays of each layer that has a running mean and a variance."""
    tensors = {tensor.path: tensor for tensor in packed.tensors}
    groups = []
    for path, tensor in tensors.items():
        variance = tensors.get((*path[:-1], "var"))
        if path[0] == "batch_stats" and path[-1] == "mean" and variance and variance.shape == tensor.shape:
            learned = [tensors.get(("params", *path[1:-1], name)) for name in ("scale", "bias")]
            groups.append([tensor, variance, *(t for t in learned if t is not None and t.shape == tensor.shape)])
    return groups


def _folded_bytes(
    members: list[PackedTensor], forward: Forward, bits: Callable[[Product], tuple[int, int]]
) -> int | None:
    """Returns the bytes of a folded normalization, or None if the program does more with it than shift and scale."""
    names = {"/".join(member.path) for member in members}
    leaves = {i for i, name in enumerate(forward.names) if name in names}
    steps = forward.needed()
    used = [step for step, _ in steps if any(_made_of(n, leaves, forward) for n in step.inputs)]
    if not used or any(step.name not in _AFFINE for step in used):
        return None
    channels, width = members[0].size, max(member.bits for member in members)
    inner = {n for step in used for n in forward.reached(step)}
    results = {n for step in used for n in step.outputs} - inner
    if not _only_compared(results, forward, steps):
        return aligned(2 * channels * width // 8)
    sources = inner - {n for step in used for n in step.outputs}
    if _integer_sums(sources, forward, steps, bits):
        return aligned(2 * channels)
    return aligned(channels * width // 8) + aligned(-(-channels // 8))


def _made_of(n: int | Constant, leaves: set[int], forward: Forward) -> bool:
    if isinstance(n, Constant):
        return False
    return not forward.origins[n].data and not leaves.isdisjoint(forward.origins[n].leaves)


def _only_compared(values: set[int], forward: Forward, steps: list[CountedStep]) -> bool:
    """Tells whether the values, or views of them, are read by comparisons with a constant of the code alone."""
    followed, compared = set(values), False
    for step, _ in steps:
        values_read = [n for n in step.inputs if not isinstance(n, Constant)]
        if followed.isdisjoint(values_read):
            continue
        if step.name in _PASSED:
            followed.update(step.outputs)
        elif step.name in _COMPARED and len(values_read) == 1:
            compared = True
        else:
            return False
    return compared and followed.isdisjoint(forward.results())


def _integer_sums(
    values: set[int], forward: Forward, steps: list[CountedStep], bits: Callable[[Product], tuple[int, int]]
) -> bool:
    """Tells whether the values are monotone functions of sums of +-1, each of fewer than 2^14 terms."""
    wanted, sums = set(values), False
    for step, products in reversed(steps):
        if wanted.isdisjoint(step.outputs):
            continue
        if step.name in COUNTS:
            [product] = products
            terms = product.macs // max(1, math.prod(step.avals[0].shape))
            if bits(product) != (1, 1) or terms >= _MAX_TERMS_OF_16_BIT_SUM:
                return False
            sums = True
        elif step.name in _MONOTONE | _PASSED:
            several = len(set(forward.reached(step))) > 1
            if several and step.name not in ("max", "min"):
                return False
            wanted.update(forward.reached(step))
        else:
            return False
    return sums and wanted.isdisjoint(forward.inputs)
