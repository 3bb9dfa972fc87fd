"""What a model costs on a device: bytes, operations, activation memory and modeled energy of one inference.

  cost(model, variables, x)     all of it, for a float or a quantized model
"""

from gecko_jax.costs.cost import Cost, cost
from gecko_jax.costs.deployed import DeployedBytes
from gecko_jax.costs.operations import LayerOperations

__all__ = ["Cost", "DeployedBytes", "LayerOperations", "cost"]
