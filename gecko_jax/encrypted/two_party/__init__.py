"""Two-party inference on additive shares, simulated: the same circuit as under encryption, without homomorphic keys.

simulate(circuit, x)           both parties in one process: outputs, error, counted rounds and bytes, modeled times
extract(model, variables, x)   a circuit that may hold ReLUs, and clamps such as activation="clamp", SecureML's
observe_bounds(circuit, x)     for deep circuits, whose intervals are wide
lay_out -> predict_traffic     rounds and bytes beforehand, by a formula
"""

from gecko_jax.encrypted.two_party.bounds import observe_bounds
from gecko_jax.encrypted.two_party.layout import Layout, Step, lay_out
from gecko_jax.encrypted.two_party.nodes import Clamp, Relu, evaluate, extract
from gecko_jax.encrypted.two_party.simulation import Settings, Simulation, simulate
from gecko_jax.encrypted.two_party.traffic import LAN, WAN, Network, StepTraffic, Traffic, predict_traffic

__all__ = [
    "LAN",
    "WAN",
    "Clamp",
    "Layout",
    "Network",
    "Relu",
    "Settings",
    "Simulation",
    "Step",
    "StepTraffic",
    "Traffic",
    "evaluate",
    "extract",
    "lay_out",
    "observe_bounds",
    "predict_traffic",
    "simulate",
]
