"""What a model costs on a device: bytes, operations, activation memory and energy, each figure with its kind.

Bytes come from the packed file, operations and activation memory from the traced program, and energy from a published
table. The first three are "counted" (memory under the assumptions of `costs.memory`), energy is "modeled".

There are two sizes. The packed file holds all that the model's `apply` reads, a batch normalization as four arrays. A
device holds the normalization folded (`costs.deployed`); activation memory and energy assume the same.
"""

from __future__ import annotations

from typing import NamedTuple

from gecko_jax.checks import lookup
from gecko_jax.costs.deployed import DeployedBytes, deployed_bytes
from gecko_jax.costs.energy import READ_PER_BIT, mac_energy, read_energy
from gecko_jax.costs.memory import liveness
from gecko_jax.costs.operations import LayerOperations, by_precision, count_operations
from gecko_jax.costs.precisions import Precisions
from gecko_jax.costs.program import forward_pass
from gecko_jax.integer.packed_file import StoredBytes, stored_bytes
from gecko_jax.integer.packing import PackedModel, pack
from gecko_jax.models.quantized_layers import weight_quantizers
from gecko_jax.models.removed_weights import STATES
from gecko_jax.models.trace import trace
from gecko_jax.programs import peak_bytes
from gecko_jax.text_tables import aligned
from gecko_jax.trees import row_count, take
from gecko_jax.types import Array, Estimate, Model, Variables


class Cost(NamedTuple):
    """The cost of one example's forward pass.

    Attributes:
      stored: the packed file's bytes by purpose.
      stored_bytes: size of the packed file in bytes.
      bytes_by_precision: {bits of a value: bytes of the values, their padding and their scales} in the file, without
        the header.
      parameters: {bits: how many of "params" are stored at that width}; what a quantizer learned is not a parameter,
        nor is a weight that pruning has removed and that the file leaves out.
      layers: the work of each layer, in call order, then that of products outside layers.
      macs: {(weight bits, input bits): multiply-accumulates}; a float counts with the width of its type.
      bops: bit operations, the sum of MACs * weight bits * input bits.
      peak_activation_bytes: lower bound on activation memory in bytes; see `costs.memory`.
      compute_energy, memory_energy, energy: joules, of the MACs, of reading the weights, and of both; see
        `costs.energy`.
      memory: the memory that weights are read from in the energy model.
      deployed: the bytes that a device must hold, with batch normalization folded; see `costs.deployed`.
      deployed_bytes: their sum in bytes.
    """

    stored: StoredBytes
    stored_bytes: Estimate
    bytes_by_precision: dict[int, Estimate]
    parameters: dict[int, Estimate]
    layers: tuple[LayerOperations, ...]
    macs: dict[tuple[int, int], Estimate]
    bops: Estimate
    peak_activation_bytes: Estimate
    compute_energy: Estimate
    memory_energy: Estimate
    energy: Estimate
    memory: str
    deployed: DeployedBytes
    deployed_bytes: Estimate

    def table(self) -> str:
        """Returns the layers and the totals as a short text table."""
        rows = [("layer", "kind", "MACs", "weight x input", "BOPs", "modeled pJ")]
        for layer in self.layers:
            picojoules = 1e12 * layer.macs * mac_energy(layer.weight_bits, layer.input_bits)
            precision = f"{layer.weight_bits} x {layer.input_bits}"
            name = layer.path or "(top)"
            rows.append((name, layer.kind, f"{layer.macs:,}", precision, f"{layer.bops:,}", f"{picojoules:,.0f}"))
        lines = aligned(rows, left=2, rule=False)
        parameters = ", ".join(f"{int(count.value):,} at {bits} bit" for bits, count in self.parameters.items())
        macs = ", ".join(f"{int(count.value):,} at {w} x {a} bit" for (w, a), count in self.macs.items())
        microjoules = [1e6 * e.value for e in (self.energy, self.compute_energy, self.memory_energy)]
        lines += [
            f"parameters (counted): {parameters}",
            f"deployed, normalization folded (counted): {self.deployed.total:,} B = codes {self.deployed.codes:,}, "
            f"scales {self.deployed.scales:,}, normalization {self.deployed.normalization:,}, raw "
            f"{self.deployed.raw:,}{_indices(self.deployed.indices)}",
            f"packed file (counted): {self.stored.total:,} B = codes {self.stored.code_bits / 8:,.0f}, padding "
            f"{self.stored.padding_bits / 8:,.0f}, scales {self.stored.scale_bytes:,}, raw {self.stored.raw_bytes:,}, "
            f"header {self.stored.header_bytes:,}{_indices(self.stored.index_bytes)}",
            f"MACs (counted): {macs}",
            f"BOPs (counted): {int(self.bops.value):,}",
            f"peak activations (counted, lower bound): {int(self.peak_activation_bytes.value):,} B",
            f"energy (modeled): {microjoules[0]:,.3f} uJ = MACs {microjoules[1]:,.3f} + weights from {self.memory} "
            f"{microjoules[2]:,.3f}",
        ]
        return "\n".join(lines)


def cost(model: Model, variables: Variables, x: Array, memory: str = "dram") -> Cost:
    r"""Counts and models the cost of one example's forward pass.

    Args:
      model: a float or quantized model; inputs and outputs are any pytrees.
      variables: its variables, trained or not.
      x: inputs [b, ...], any pytree, of which only the first row's shapes and types matter.
      memory: the memory that weights are read from: "sram_8kB", "sram_32kB", "sram_1MB" or "dram".

    Returns:
      A `Cost`. Its totals are `Estimate`s of kind "counted" or "modeled".

    Raises:
      ValueError: no input row, an unknown memory, weights that cannot be packed (see `integer.pack`), or
        multiply-accumulates that cannot be counted: a loop that ends on a condition, a primitive with its own rule.

    Source: the energies of Horowitz, "Computing's energy problem", ISSCC 2014; see `costs.energy` for what is assumed.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(4,)), jnp.ones((1, 5))
    >>> spent = cost(model, model.init(jax.random.key(0), x), x)
    >>> spent.macs[32, 32].value, spent.deployed_bytes.value, spent.energy.unit
    (32, 156, 'J')
    >>> print(*spent.table().splitlines()[:3], sep="\n")
    layer   kind   MACs  weight x input    BOPs  modeled pJ
    dense1  Dense    20         32 x 32  20,480          92
    logits  Dense    12         32 x 32  12,288          55
    """
    if row_count("x", x) == 0:
        raise ValueError("x is empty; at least one row is needed.")
    one = take(x, slice(0, 1))
    lookup("memory", memory, READ_PER_BIT)
    calls, forward = trace(model, variables, one), forward_pass(model, variables, one)
    precisions = Precisions(forward, calls, weight_quantizers(model, variables, one))
    layers = count_operations(forward, calls, precisions)
    packed = pack(model, variables, one)
    stored, deployed = stored_bytes(packed), deployed_bytes(packed, forward, precisions.bits)
    totals = by_precision(layers)
    compute = sum(layer.macs * mac_energy(layer.weight_bits, layer.input_bits) for layer in layers)
    reading = read_energy(deployed.total, memory)
    return Cost(
        stored,
        _counted(stored.total, "B"),
        {bits: _counted(size, "B") for bits, size in bytes_by_precision(packed).items()},
        {bits: _counted(number) for bits, number in _parameters(packed).items()},
        layers,
        {precision: _counted(number) for precision, number in totals.items()},
        _counted(sum(layer.bops for layer in layers)),
        _counted(peak_bytes(liveness(forward, precisions.input_bits)), "B"),
        _joules(compute),
        _joules(reading),
        _joules(compute + reading),
        memory,
        deployed,
        _counted(deployed.total, "B"),
    )


def bytes_by_precision(packed: PackedModel) -> dict[int, int]:
    """Counts the payload by precision: {bits of a value: bytes of values of that width}, the widest first."""
    sizes: dict[int, int] = {}
    for tensor in packed.tensors:
        # One tensor by itself takes as many bytes as in the file, because every array starts at an aligned offset.
        sizes[tensor.bits] = sizes.get(tensor.bits, 0) + stored_bytes(PackedModel((tensor,))).payload
    return dict(sorted(sizes.items(), reverse=True))


def _parameters(packed: PackedModel) -> dict[int, int]:
    counts: dict[int, int] = {}
    for tensor in packed.tensors:
        if tensor.path[0] == "params" and tensor.path[1] != STATES:
            counts[tensor.bits] = counts.get(tensor.bits, 0) + tensor.stored_size
    return dict(sorted(counts.items(), reverse=True))


def _counted(number: int, unit: str = "") -> Estimate:
    return Estimate(number, kind="counted", unit=unit)


def _indices(size: int) -> str:
    """Returns what a table says of the places of sparse weights; nothing if no layer is sparse."""
    return f", places of sparse weights {size:,}" if size else ""


def _joules(value: float) -> Estimate:
    return Estimate(value, kind="modeled", unit="J")
