"""What a model costs on a device: bytes, operations, activation memory and modeled energy of one inference.

cost(model, variables, x)                     all costs of a float or a quantized model
breakdowns(name, cost)                        a cost divided by purpose and by layer, for a report
compressed(model, variables, x, max_bytes)    a transformer, narrowed and quantized to a budget of bytes
exit_costs(model, variables, x)               what an input costs that each exit of a multi-exit model answers
"""

from gecko_jax.costs.breakdown import breakdowns
from gecko_jax.costs.cost import Cost, cost
from gecko_jax.costs.deployed import DeployedBytes
from gecko_jax.costs.equal_bytes import Compressed, compressed
from gecko_jax.costs.exits import PartCost, exit_costs, mean_cost, part_cost
from gecko_jax.costs.operations import LayerOperations

__all__ = [
    "Compressed",
    "Cost",
    "DeployedBytes",
    "LayerOperations",
    "PartCost",
    "breakdowns",
    "compressed",
    "cost",
    "exit_costs",
    "mean_cost",
    "part_cost",
]
