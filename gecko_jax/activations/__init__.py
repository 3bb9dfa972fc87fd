"""Activations, each a small Linen module, so that a trained one brings its parameters along.

One that never falls says `monotone = True`: pools may then stand before it.
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
