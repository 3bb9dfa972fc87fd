"""What each exit of a multi-exit model costs, and what an input costs, which depends on the exit that answers it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks, programs
from gecko_jax.checks import lookup
from gecko_jax.costs.deployed import deployed_bytes
from gecko_jax.costs.energy import READ_PER_BIT, mac_energy, read_energy
from gecko_jax.costs.memory import liveness
from gecko_jax.costs.operations import count_operations
from gecko_jax.costs.precisions import Precisions
from gecko_jax.costs.program import Forward, forward_pass
from gecko_jax.integer.packing import PackedModel, pack
from gecko_jax.models import exit_paths, until_exit, weight_quantizers
from gecko_jax.models.trace import trace
from gecko_jax.trees import row_count, take
from gecko_jax.types import Array, Estimate, Model, Variables


class PartCost(NamedTuple):
    """The cost of one example's pass through the first part of a network, all exits on its way included.

    Attributes:
      path: of the module behind which the part ends; "" for the whole network.
      macs, bops: multiply-accumulates and bit operations, see `Cost`.
      read_bytes: deployed bytes of the weights that the part reads, see `costs.deployed`.
      peak_activation_bytes: see `costs.memory`.
      energy: joules, of the MACs and of reading those weights, see `costs.energy`.
    """

    path: str
    macs: Estimate
    bops: Estimate
    read_bytes: Estimate
    peak_activation_bytes: Estimate
    energy: Estimate


def exit_costs(model: Model, variables: Variables, x: Array, memory: str = "dram") -> tuple[PartCost, ...]:
    """Counts and models what an input costs that is answered by each exit, one example at a time.

    An exit's cost is that of the layers up to it and of all exits before it, which are asked first. A device stores all
    of them (`costs.cost`). Comparing a probability with the threshold is not counted, as other elementwise work.

    Args:
      model: of `models.multi_exit`, quantized or not.
      variables: its variables, trained or not.
      x: inputs [b, ...], of which only the first row's shapes and types matter.
      memory: the memory that weights are read from; see `costs.cost`.

    Returns:
      One cost for each exit, in the order of the computation; the last one is that of the whole network.

    Raises:
      ValueError: a model without exits, no input row; see `costs.cost`.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.multi_exit(models.create("mlp", 3, hidden=(8, 8)), "block"), jnp.ones((1, 4))
    >>> [int(part.macs.value) for part in exit_costs(model, model.init(jax.random.key(0), x), x)]
    [56, 144, 168]
    """
    checks.at_least("len(x)", row_count("x", x), 1)
    paths = exit_paths(model, variables, x)
    parts = [until_exit(model, variables, x, number) for number in range(len(paths) + 1)]
    return tuple(part_cost(part, variables, x, path, memory) for path, part in zip((*paths, ""), parts, strict=True))


def part_cost(part: Model, variables: Variables, x: Array, path: str = "", memory: str = "dram") -> PartCost:
    """Counts and models the cost of a model that runs a part of a network and has the variables of all of it.

    Args:
      part: such as `models.until_exit` or the `head` of `models.split` returns.
      variables, x, memory: as of `exit_costs`.
      path: where the part ends.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(8, 8)), jnp.ones((1, 4))
    >>> head = models.split(model, "block1", x).head
    >>> part_cost(head, model.init(jax.random.key(0), x), x).read_bytes.value  # 4 * 8 weights and 8 biases
    160
    """
    lookup("memory", memory, READ_PER_BIT)
    checks.at_least("len(x)", row_count("x", x), 1)
    one = take(x, slice(0, 1))
    forward, calls = forward_pass(part, variables, one), trace(part, variables, one)
    precisions = Precisions(forward, calls, weight_quantizers(part, variables, one))
    layers = count_operations(forward, calls, precisions)
    read = deployed_bytes(_read(pack(part, variables, one), forward), forward, precisions.bits).total
    compute = sum(layer.macs * mac_energy(layer.weight_bits, layer.input_bits) for layer in layers)
    return PartCost(
        path,
        Estimate(sum(layer.macs for layer in layers), kind="counted"),
        Estimate(sum(layer.bops for layer in layers), kind="counted"),
        Estimate(read, kind="counted", unit="B"),
        Estimate(programs.peak_bytes(liveness(forward, precisions.input_bits)), kind="counted", unit="B"),
        Estimate(compute + read_energy(read, memory), kind="modeled", unit="J"),
    )


def mean_cost(costs: tuple[PartCost, ...], exits: Array) -> PartCost:
    """Computes what an input costs on average, and the largest peak memory, from which exit answered each.

    Args:
      costs: of `exit_costs`.
      exits: int [n], the number of the exit that answered each input (`models.answers`), from 0.

    Returns:
      The means over the n inputs; `peak_activation_bytes` is the largest of the exits that answered.

    Raises:
      ValueError: no inputs, or a number that is not an exit's.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.multi_exit(models.create("mlp", 3, hidden=(8, 8)), "block"), jnp.ones((1, 4))
    >>> costs = exit_costs(model, model.init(jax.random.key(0), x), x)
    >>> mean_cost(costs, np.array([0, 0, 2, 2])).macs.value
    112.0
    """
    numbers = checks.not_empty("exits", np.asarray(exits))
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 0 or numbers.max() >= len(costs):
        raise ValueError(
            f"exits runs from {numbers.min()} to {numbers.max()} ({numbers.dtype}); expected integers in "
            f"0..{len(costs) - 1}, the exits that costs are of."
        )
    share = np.bincount(numbers.ravel(), minlength=len(costs)) / numbers.size

    def mean(name: str) -> Estimate:
        each = [getattr(cost, name) for cost in costs]
        value = float(sum(part * estimate.value for part, estimate in zip(share, each, strict=True)))
        return each[0]._replace(value=value, n=numbers.size)

    peak = max(cost.peak_activation_bytes.value for cost, part in zip(costs, share, strict=True) if part)
    return PartCost(
        "", mean("macs"), mean("bops"), mean("read_bytes"), costs[0].peak_activation_bytes._replace(value=peak),
        mean("energy"),
    )  # fmt: skip


def _read(packed: PackedModel, forward: Forward) -> PackedModel:
    """Returns the arrays that the pass depends on."""
    needed = programs.needed(forward.program.steps, forward.results())
    numbers = forward.program.inputs[: len(forward.names)]
    names = {name for name, number in zip(forward.names, numbers, strict=True) if number in needed}
    return PackedModel(tuple(tensor for tensor in packed.tensors if "/".join(tensor.path) in names))
