"""The program that runs on ciphertexts: what the client must know, and the steps of the server.

A ciphertext holds width * samples numbers: number position * samples + s belongs to sample s. Which feature of a node
lies at which position is a table; a node with more features than positions takes several ciphertexts, and with width 1
each feature has its own (slot = sample). Registers hold the ciphertexts of a node; register 0 is the input.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import digests
from gecko_jax.encrypted.circuit import Circuit
from gecko_jax.encrypted.parameters import Parameters
from gecko_jax.types import Array


class Interface(NamedTuple):
    """The public part of a program, all that a client needs; it holds no weights.

    Attributes:
      parameters: of the ciphertexts.
      samples: examples in one run.
      input_shape, output_shape: of one example.
      input_features: int32 [ciphertexts, width], the feature at each position; -1 for none; a feature may be repeated.
      output_features: the same of the output.
      input_gain, output_gain: a number in a slot is the feature times the gain.
      rotations: steps, in slots, for which the server needs Galois keys.
      relinearizes: whether the server needs relinearization keys.
      output_level: rescalings that are left in the output.
      box_low, box_high: float64 [features], the box that inputs are clipped to.
      output_bound: absolute value of an output above which its ciphertext wraps around.
    """

    parameters: Parameters
    samples: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    input_features: np.ndarray
    output_features: np.ndarray
    input_gain: float
    output_gain: float
    rotations: tuple[int, ...]
    relinearizes: bool
    output_level: int
    box_low: np.ndarray
    box_high: np.ndarray
    output_bound: float


class Sum(NamedTuple):
    """An affine map: diagonals times rotated ciphertexts, summed, rescaled, folded, and a bias.

    Attributes:
      target: register of the result.
      sources: int32 [inputs, 2], the register and ciphertext of each input.
      diagonals: int32 [count, 4]: output ciphertext, input, giant step, baby step; rotations in positions.
      weights: float64 [count, width], already rotated against the giant step.
      bias: float64 [outputs, width], times the gain.
      folds: rotations, in positions, that are added to the result one after another.
      level: rescalings that are possible before this step, which uses one.
      layer: for messages.
    """

    target: int
    sources: np.ndarray
    diagonals: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    folds: tuple[int, ...]
    level: int
    layer: str


class Multiply(NamedTuple):
    """An elementwise product of two registers of one layout; it uses one level.

    Attributes:
      target: register of the result.
      left, right: registers of the factors; right is -1 for the square of left.
      layer: for messages.
    """

    target: int
    left: int
    right: int
    layer: str


class Range(NamedTuple):
    """How far a value may go.

    Attributes:
      layer: that computes it.
      largest: the largest absolute value on the calibration data.
      bound: absolute value above which the ciphertext wraps around; float("inf") if nothing bounds it.
    """

    layer: str
    largest: float
    bound: float


class Program(NamedTuple):
    """A network compiled for ciphertexts.

    Attributes:
      interface: the public part.
      steps: of the server, in their order.
      output: register of the output.
      circuit: the network that the steps compute, for checks.
      ranges: of the input, of each product's factors and of the output.
      goal: "latency" or "throughput", what the packing was chosen for.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted import Affine, compile_circuit
    >>> circuit = Circuit((2,), (2,), (), Affine({0: csr_array(2 * np.eye(2))}, np.ones(2)), ("input",))
    >>> program = compile_circuit(circuit, np.array([[1.0, 2.0]]))
    >>> program.simulate(np.array([[1.0, 2.0]])).round(2).tolist()
    [[3.0, 5.0]]
    >>> report = program.report()
    >>> report.degree, report.seconds_from
    (4096, 'modeled')
    >>> len(program.digest)
    32
    >>> client, server = program.client(), program.server()
    >>> client.key_id == server.add_keys(client.evaluation_keys())
    True
    >>> program.verify(np.array([[1.5, 1.0]])).same_label
    1.0
    >>> import tempfile
    >>> program.save(tempfile.mkdtemp(), np.array([[1.5, 1.0]])).examples
    1
    """

    interface: Interface
    steps: tuple[Sum | Multiply, ...]
    output: int
    circuit: Circuit
    ranges: tuple[Range, ...]
    goal: str

    @property
    def digest(self) -> str:
        """Identifies what runs: interface, steps and output, 32 hexadecimal digits."""
        return digests.sha256(*_flat((self.interface, self.steps, self.output)))[:32]

    def simulate(self, x: Array, seed: int = 0) -> np.ndarray:
        """Predicts an encrypted run in NumPy, with its noise; see `simulation.simulate`.

        Args:
          x: inputs [b, *input_shape].
          seed: of the noise.
        """
        from gecko_jax.encrypted import simulation

        return simulation.simulate(self, x, seed)

    def report(self, measured: bool = False) -> Any:
        """Predicts seconds, megabytes and keys of a run; see `report.report`.

        Args:
          measured: time the operations on this machine instead of using the library's table.
        """
        from gecko_jax.encrypted import report

        return report.report(self, measured)

    def client(self) -> Any:
        """Makes a `Client` with a new secret key; it holds no weights."""
        from gecko_jax.encrypted.client import Client

        return Client(self.interface, self.digest)

    def server(self) -> Any:
        """Makes a `Server`, which holds no secret key."""
        from gecko_jax.encrypted.server import Server

        return Server(self)

    def verify(self, x: Array, tolerance: float = 1e-3) -> Any:
        """Compares real encrypted runs with the network; see `verification.verify`.

        Args:
          x: inputs [b, *input_shape].
          tolerance: the largest error, relative to the largest output.
        """
        from gecko_jax.encrypted import verification

        return verification.verify(self, x, tolerance)

    def save(self, folder: str | os.PathLike[str], x: Array) -> Any:
        """Verifies the program on x and writes it; see `saving.save`.

        Args:
          folder: where it goes.
          x: inputs [b, *input_shape].
        """
        from gecko_jax.encrypted import saving

        return saving.save(self, folder, x)


def _flat(value: Any) -> list[str]:
    """A value of nested tuples and arrays as texts, each with its type, so that two programs never share a list."""
    if isinstance(value, np.ndarray):
        return ["array;", digests.array_digest(value), ";"]
    if isinstance(value, tuple):
        texts = [text for item in value for text in _flat(item)]
        return [f"{type(value).__name__} of {len(value)}: ", *texts, ";"]
    return [f"{type(value).__name__} {value!r};"]
