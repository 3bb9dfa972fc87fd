"""Divides a model's cost for a report: bytes by purpose, operations and energy by layer."""

from __future__ import annotations

from gecko_jax.costs.cost import Cost
from gecko_jax.costs.energy import mac_energy
from gecko_jax.reports import Breakdown

TOP = "(top)"  # products outside layers


def breakdowns(name: str, cost: Cost) -> tuple[Breakdown, ...]:
    """Divides a cost by purpose and by layer, for the exhibit `reports.CostBreakdowns`.

    Args:
      name: of the row that the cost is of.
      cost: of `costs.cost`.

    Returns:
      Breakdowns of the deployed bytes by purpose (counted), of the multiply-accumulates by layer (counted), and of the
      energy by layer and for reading the weights (modeled, in J). Parts of size 0 are left out; a cost without any
      part is, too.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import costs, models
    >>> model, x = models.create("mlp", 3, hidden=(4,)), jnp.ones((1, 5))
    >>> parts = breakdowns("mlp", costs.cost(model, model.init(jax.random.key(0), x), x))
    >>> [(each.heading, tuple(zip(each.parts, each.sizes))) for each in parts[:2]]
    [('Deployed bytes', (('raw', 156),)), ('MACs', (('dense1', 20), ('logits', 12)))]
    """
    macs: dict[str, float] = {}
    joules = {f"weights from {cost.memory}": cost.memory_energy.value}
    for layer in cost.layers:
        path = layer.path or TOP
        macs[path] = macs.get(path, 0) + layer.macs
        joules[path] = joules.get(path, 0) + layer.macs * mac_energy(layer.weight_bits, layer.input_bits)
    costs = (
        Breakdown(name, "Deployed bytes", "B", "counted", *_parts(cost.deployed._asdict())),
        Breakdown(name, "MACs", "", "counted", *_parts(macs)),
        Breakdown(name, "Energy", "J", "modeled", *_parts(joules)),
    )
    return tuple(each for each in costs if each.parts)


def _parts(sizes: dict[str, float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    return tuple(name for name, size in sizes.items() if size), tuple(size for size in sizes.values() if size)
