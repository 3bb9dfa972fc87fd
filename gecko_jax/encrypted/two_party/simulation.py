"""The face of the two-party room: one run of the protocol, simulated in one process, with all that it costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import Circuit
from gecko_jax.encrypted.two_party.bounds import bound_magnitudes, check_truncations
from gecko_jax.encrypted.two_party.dealer import Hands, deal
from gecko_jax.encrypted.two_party.fixed_point import CLIENT, SERVER, decode, encode
from gecko_jax.encrypted.two_party.layout import DEFAULT_BITS, Layout, encode_weights, lay_out
from gecko_jax.encrypted.two_party.messages import DEALER, NAMES, Channel, Outgoing, run_in_lockstep
from gecko_jax.encrypted.two_party.nodes import node_values
from gecko_jax.encrypted.two_party.parties import Secrets, follow
from gecko_jax.encrypted.two_party.traffic import LAN, WAN, Network, Traffic, count_traffic, predict_traffic
from gecko_jax.keys import generator, secret_seed
from gecko_jax.types import Array, Estimate

MAX_FRACTION_BITS = 24  # a product then has 48, which leaves 15 for the number and for the odds of a truncation
MAX_FAILURE_PROBABILITY = 2.0**-10
ALLOWED_FAILURE_PROBABILITY = (
    0.25  # below it no number reaches the ring's end, where it would wrap without any truncation
)


class Settings(NamedTuple):
    """How a circuit is evaluated by two parties.

    Attributes:
      fraction_bits: bits of values after the point, 1 to 24.
      weight_fraction_bits: bits of weights after the point, 1 to 24.
      public_weights: whether both parties know the weights, which saves the matrices' triples; False if they are the
        server's secret.
      input_bound: bound on the absolute value of every input; the client clips its input to it.
      node_bounds: one bound on the magnitude of each product, a number or [n_k], from a range certificate or from
        `observe_bounds`; None for intervals, which always hold, and are wide for deep circuits.
      max_failure_probability: the largest probability of a failed truncation in a run that is accepted.
    """

    fraction_bits: int = DEFAULT_BITS[0]
    weight_fraction_bits: int = DEFAULT_BITS[1]
    public_weights: bool = False
    input_bound: float = 1.0
    node_bounds: Sequence[Array | float] | None = None
    max_failure_probability: float = MAX_FAILURE_PROBABILITY


DEFAULT_SETTINGS = Settings()


class Simulation(NamedTuple):
    """One run of the two-party protocol, both parties in one process.

    Attributes:
      outputs: [b, *output_shape] float64, what the client learns.
      max_error: the largest absolute difference from float64, measured.
      failure_probability: upper bound on the probability that a truncation of the run fails, modeled.
      cpu_seconds: of both parties together, without the dealer, measured.
      network_seconds: {network: seconds of the setup and the run, without computing}, modeled.
      traffic: rounds and bytes, counted from the messages.
      settings: of the run.
    """

    outputs: np.ndarray
    max_error: Estimate
    failure_probability: Estimate
    cpu_seconds: Estimate
    network_seconds: dict[str, Estimate]
    traffic: Traffic
    settings: Settings

    def __str__(self) -> str:
        """Returns a summary and the table of rounds and bytes."""
        traffic, settings = self.traffic, self.settings
        weights = "known to both parties" if settings.public_weights else "the server's secret"
        times = ", ".join(f"{name} {seconds.value:.3g} s" for name, seconds in self.network_seconds.items())
        return "\n".join(
            [
                f"SIMULATION of two-party inference on {len(self.outputs):,} examples; both parties in one process.",
                "Semi-honest parties, a trusted dealer; layer sizes are public, weights are " + weights + ".",
                f"fixed point       modulo 2^64, bits after the point: values {settings.fraction_bits}, "
                f"weights {settings.weight_fraction_bits}",
                f"error             {self.max_error.value:.2g} at most against float64 (measured)",
                f"failed truncation probability below {self.failure_probability.value:.1g} in the run (modeled)",
                f"computing         {self.cpu_seconds.value:.3g} CPU s, both parties (measured)",
                f"network           {times}, setup and run (modeled)",
                f"rounds            {traffic.rounds('setup')} setup, {traffic.rounds('online')} online (counted)",
                f"bytes             {traffic.bytes('setup'):,} setup, {traffic.bytes('online'):,} online, "
                f"{traffic.bytes('offline'):,} from the dealer before (counted)",
                "",
                str(traffic),
            ]
        )


def check_settings(settings: Settings, circuit: Circuit) -> Settings:
    """Checks a run's circuit and settings, and returns the settings."""
    if not isinstance(circuit, Circuit):
        raise ValueError(
            f"circuit is a {type(circuit).__name__}; expected a Circuit: encrypted.extract(model, variables, x), or "
            "the `circuit` of a compiled program."
        )
    if not isinstance(settings, Settings):
        raise ValueError(f"settings={settings!r} must be a two_party.Settings, such as Settings(fraction_bits=13).")
    for name in ("fraction_bits", "weight_fraction_bits"):
        checks.in_range(name, checks.integer(name, getattr(settings, name), 1), 1, MAX_FRACTION_BITS)
    checks.positive("input_bound", settings.input_bound)
    checks.in_range("max_failure_probability", settings.max_failure_probability, 0, ALLOWED_FAILURE_PROBABILITY)
    if settings.node_bounds is not None and len(settings.node_bounds) != len(circuit.products):
        raise ValueError(
            f"node_bounds has {len(settings.node_bounds)} entries; expected {len(circuit.products)}, one a product."
        )
    for number, (product, bound) in enumerate(zip(circuit.products, settings.node_bounds or (), strict=False)):
        shapes = (), product.left.bias.shape
        if np.shape(bound) not in shapes or not np.all(np.asarray(bound) >= 0):
            raise ValueError(
                f"node_bounds[{number}]={bound!r} must be a number of at least 0, or {len(product.left.bias)} of them."
            )
    return settings


def simulate(
    circuit: Circuit,
    x: Array,
    settings: Settings = DEFAULT_SETTINGS,
    *,
    networks: Sequence[Network] = (LAN, WAN),
    seed: int | None = None,
) -> Simulation:
    """Simulates two-party inference on additive shares: the client holds inputs, the server the weights.

    Both parties run in this process, each as a generator that sees its own shares and the bytes that it received. Masks
    come from NumPy's generators, which are not cryptographic: this measures a protocol and protects nothing.

    Args:
      circuit: of a network, from `encrypted.extract`, or from `two_party.extract` if it has ReLUs or clamps.
      x: inputs [b, *input_shape].
      settings: the protocol's settings.
      networks: on which the time is modeled.
      seed: for tests, since anyone who knows it can compute every mask; None draws one from the operating system.

    Returns:
      A Simulation; print it.

    Raises:
      ValueError: inputs outside the bound, values so large that a truncation may fail, settings out of range.
      ArithmeticError: an output that no input within the bound can have: a truncation failed.

    Source: Mohassel and Zhang 2017 (SecureML), sections 4.1 and 4.3; Beaver 1991.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted.circuit import Affine, Product
    >>> double = Affine({0: csr_array(2 * np.eye(2))}, np.zeros(2))
    >>> total = Affine({1: csr_array(np.ones((1, 2)))}, np.ones(1))
    >>> circuit = Circuit((2,), (1,), (Product(double, None),), total, ("input", "dense"))
    >>> result = simulate(circuit, np.array([[0.5, 1.0]]))
    >>> bool(abs(result.outputs[0, 0] - 6) < 1e-3), result.traffic.rounds("online")
    (True, 5)
    """
    check_settings(settings, circuit)
    bits = settings.fraction_bits, settings.weight_fraction_bits
    batch = len(checks.not_empty("x", x))
    reference = node_values(circuit, x)
    _check_inputs(reference[0], settings.input_bound)
    magnitudes = bound_magnitudes(circuit, settings.input_bound, bits, settings.node_bounds)
    failure = check_truncations(magnitudes, batch, bits, settings.max_failure_probability)
    if settings.node_bounds is not None:
        _check_nodes(circuit, reference, magnitudes.nodes)
    layout = lay_out(circuit, bits, settings.public_weights)
    ring, channel, seconds = run_parties(circuit, layout, encode("x", reference[0], bits[0]), seed)
    outputs = decode(ring, bits[0])
    if (wild := np.abs(outputs) > magnitudes.nodes[-1][None]).any():
        raise ArithmeticError(
            f"{int(wild.sum())} outputs lie outside their bounds: a truncation failed, which has a probability below "
            f"{failure:.1g}. Run again; no output of this run is right for certain."
        )
    traffic = count_traffic(channel.messages)
    if traffic != (predicted := predict_traffic(layout, batch)):
        raise RuntimeError(f"the messages differ from the formula:\n{traffic}\nexpected:\n{predicted}")
    return Simulation(
        outputs.reshape(batch, *circuit.output_shape),
        Estimate(float(np.abs(outputs - reference[-1]).max())),
        Estimate(failure, kind="modeled"),
        Estimate(seconds, unit="s"),
        {network.name: Estimate(traffic.seconds(network), kind="modeled", unit="s") for network in networks},
        traffic,
        settings,
    )


def run_parties(circuit: Circuit, layout: Layout, x: np.ndarray, seed: int | None) -> tuple[np.ndarray, Channel, float]:
    """Deals, and runs both parties; returns the outputs in the ring, the messages, and both parties' CPU seconds."""
    seed = secret_seed() if seed is None else seed
    hands = deal(layout, len(x), generator(seed, "two-party", DEALER))
    channel = Channel()
    for name, arrays in zip(NAMES, (hands.client, hands.server), strict=True):
        channel.send(Outgoing("offline", DEALER, tuple(arrays), ()), DEALER, name)
    start = time.process_time()
    client, server = _parties(circuit, layout, x, hands, seed)
    ring, _ = run_in_lockstep(client, server, channel)
    return ring, channel, time.process_time() - start


def _parties(circuit: Circuit, layout: Layout, x: np.ndarray, hands: Hands, seed: int):
    weights = encode_weights(circuit, layout)
    random = generator(seed, "two-party", "client")
    client = Secrets(hands.client, weights if layout.public_weights else None, x, random)
    server = Secrets(hands.server, weights, None, None)
    return follow(CLIENT, layout, len(x), client), follow(SERVER, layout, len(x), server)


def _check_inputs(x: np.ndarray, bound: float) -> None:
    checks.finite("x", x)
    if (largest := np.abs(x).max(initial=0)) > bound:
        raise ValueError(
            f"x reaches {largest:.4g}, beyond input_bound={bound:.4g}, which the ranges were computed for. Clip it, "
            "x.clip(-bound, bound), or raise input_bound."
        )


def _check_nodes(circuit: Circuit, values: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> None:
    for name, value, bound in zip(circuit.layers[1:], values[1:-1], bounds[1:-1], strict=True):
        if (np.abs(value) > bound[None]).any():
            raise ValueError(
                f"{name or 'a node'} reaches {np.abs(value).max():.4g} on x, beyond its node_bounds. Widen them: two "
                "real parties could not notice it."
            )
