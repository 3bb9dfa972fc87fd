"""Quantizers: one scheme a file, each a `types.Quantizer` of pure functions.

Known networks arise by composition, `models.quantized(model, [models.Rule(path=".*", weight=..., input=...)])`:

  network         weight              input                      architecture
  BinaryConnect   binary_connect()    None (float)               any
  BinaryNet/BNN   binary()            binary()                   BatchNorm -> sign after each layer (order "post")
  XNOR-Net        xnor()              xnor_input()               BatchNorm -> sign -> layer (order "xnor")
  TWN             ternary()           None (float)               any
  k-bit           uniform(k)          uniform(k, max_abs=...)    any
  DoReFa-Net      dorefa(k)           dorefa_input(k)            any
  PACT            dorefa(k)           pact(k)                    any, pact in ReLU's place
  LSQ             lsq(k)              lsq_input(k)               any
  LSQ+            lsq_plus(k)         lsq_plus_input(k)          any
  TTQ             ttq()               None (float)               any
  integers        int8(), int4()      int8_input(), int4_input() any

Every scheme computes its scales in float32 at least, returns values in the weights' own type, and passes a
straight-through gradient, which its docstring states. What a scheme learns (a step, a level) is among the model's
parameters; what it measures (a range) is in the collection "quantizer_ranges", which `models.calibrate` sets.
"""

from gecko_jax.quantizers.base import sign, straight_through
from gecko_jax.quantizers.binary import binary
from gecko_jax.quantizers.binary_connect import binary_connect
from gecko_jax.quantizers.bit_budget import bit_operations, over_budget, trained_bits, weight_bytes
from gecko_jax.quantizers.dorefa import dorefa, dorefa_input
from gecko_jax.quantizers.identity import identity
from gecko_jax.quantizers.int4 import int4, int4_input
from gecko_jax.quantizers.int8 import int8, int8_input
from gecko_jax.quantizers.lsq import lsq, lsq_input
from gecko_jax.quantizers.lsq_plus import lsq_plus, lsq_plus_input
from gecko_jax.quantizers.pact import pact
from gecko_jax.quantizers.ternary import ternary
from gecko_jax.quantizers.ttq import ttq
from gecko_jax.quantizers.uniform import uniform
from gecko_jax.quantizers.xnor import xnor, xnor_input

# name -> a quantizer with its usual settings. A new scheme: one file and one line here; the contract test runs over it.
# Its factory is decorated with `base.with_blueprint`, by which a saved model names it.
QUANTIZERS = {
    "identity": identity,
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
    "dorefa1": lambda: dorefa(1),
    "dorefa4": lambda: dorefa(4),
    "dorefa1_input": lambda: dorefa_input(1),
    "dorefa4_input": lambda: dorefa_input(4),
    "pact4": lambda: pact(4),
    "lsq4": lambda: lsq(4),
    "lsq4_input": lambda: lsq_input(4),
    "lsq_plus4": lambda: lsq_plus(4),
    "lsq_plus4_input": lambda: lsq_plus_input(4),
    "ttq": ttq,
    "int8": int8,
    "int8_input": int8_input,
    "int4": int4,
    "int4_input": int4_input,
}

__all__ = [
    "QUANTIZERS",
    "binary",
    "binary_connect",
    "bit_operations",
    "dorefa",
    "dorefa_input",
    "identity",
    "int4",
    "int4_input",
    "int8",
    "int8_input",
    "lsq",
    "lsq_input",
    "lsq_plus",
    "lsq_plus_input",
    "over_budget",
    "pact",
    "sign",
    "straight_through",
    "ternary",
    "trained_bits",
    "ttq",
    "uniform",
    "weight_bytes",
    "xnor",
    "xnor_input",
]
