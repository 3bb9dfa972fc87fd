"""Two-party inference on additive shares, simulated: the same circuit as under encryption, without homomorphic keys.

simulate(circuit, x)           both parties in one process: outputs, error, counted rounds and bytes, modeled times
with_clamp(circuit)            the same network with SecureML's activation clamp(x + 1/2, 0, 1)
lay_out -> predict_traffic     rounds and bytes beforehand, by a formula
"""

from gecko_jax.encrypted.two_party.clamp import Clamp, evaluate, with_clamp
from gecko_jax.encrypted.two_party.layout import Layout, Step, lay_out
from gecko_jax.encrypted.two_party.simulation import Settings, Simulation, simulate
from gecko_jax.encrypted.two_party.traffic import LAN, WAN, Network, StepTraffic, Traffic, predict_traffic

__all__ = [
    "LAN",
    "WAN",
    "Clamp",
    "Layout",
    "Network",
    "Settings",
    "Simulation",
    "Step",
    "StepTraffic",
    "Traffic",
    "evaluate",
    "lay_out",
    "predict_traffic",
    "simulate",
    "with_clamp",
]
