"""Activations, each a small Linen module: one that is trained brings its own parameters.

  name                 function                                      trained      where it serves
  identity             x                                             -            binary networks, whose sign comes next
  relu                 max(x, 0)                                     -            float networks
  square               x^2                                           -            two or three layers under encryption
  quadratic            a x^2 + b x, one (a, b) for each layer        a, b         deep networks under encryption
  quadratic_channel    a x^2 + b x, one (a, b) for each channel      a, b         the same

A monotone activation sets `monotone = True`: a max-pool may then be computed before it.
A new activation: one file and one line in ACTIVATIONS; the contract test runs over it.
"""

from gecko_jax.activations.identity import Identity
from gecko_jax.activations.quadratic import Quadratic
from gecko_jax.activations.relu import Relu
from gecko_jax.activations.square import Square

ACTIVATIONS = {
    "identity": Identity,
    "quadratic": Quadratic,
    "quadratic_channel": lambda: Quadratic(granularity="channel"),
    "relu": Relu,
    "square": Square,
}

__all__ = ["ACTIVATIONS", "Identity", "Quadratic", "Relu", "Square"]
