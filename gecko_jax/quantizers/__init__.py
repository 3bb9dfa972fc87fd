"""Quantisers: one scheme a file, each a `types.Quantizer` of pure functions.

How the known networks arise by composition (`models.quantized(model, rules)`; a rule is path, weight, input):

  BinaryConnect   [(".*", binary_connect(), None)]       float inputs
  BinaryNet/BNN   [(".*", binary(), binary())]           on a BatchNorm -> sign network
  XNOR-Net        [(".*", xnor(), xnor_input())]         on the order BatchNorm -> sign -> layer
  TWN             [(".*", ternary(), None)]
  k-bit           [(".*", uniform(k), uniform(k, max_abs=...))]
"""

from gecko_jax.quantizers.base import sign, straight_through
from gecko_jax.quantizers.binary import binary
from gecko_jax.quantizers.binary_connect import binary_connect
from gecko_jax.quantizers.full import full
from gecko_jax.quantizers.ternary import ternary
from gecko_jax.quantizers.uniform import uniform
from gecko_jax.quantizers.xnor import xnor, xnor_input

# name -> a quantiser with its usual settings. A new scheme: one file and one line here; the contract test runs over it.
QUANTIZERS = {
    "full": full,
    "binary_connect": binary_connect,
    "binary_connect_stochastic": lambda: binary_connect(stochastic=True),
    "binary": binary,
    "xnor": xnor,
    "xnor_input": xnor_input,
    "xnor_input_scaled": lambda: xnor_input(scaling=True),
    "ternary": ternary,
    "uniform2": lambda: uniform(2),
    "uniform4": lambda: uniform(4),
    "uniform8": lambda: uniform(8),
}

__all__ = [
    "QUANTIZERS",
    "binary",
    "binary_connect",
    "full",
    "sign",
    "straight_through",
    "ternary",
    "uniform",
    "xnor",
    "xnor_input",
]
