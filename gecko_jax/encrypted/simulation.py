"""Predicts an encrypted run in NumPy, without SEAL: slots, levels, scales, and the noise of each operation."""

from __future__ import annotations

import numpy as np

from gecko_jax.encrypted.circuit import real_rows
from gecko_jax.encrypted.executor import Executor
from gecko_jax.encrypted.packing import pack, unpack
from gecko_jax.encrypted.program import Program
from gecko_jax.encrypted.ranges import largest_values
from gecko_jax.encrypted.simulated_backend import SimulatedBackend
from gecko_jax.types import Array


def simulate(program: Program, x: Array, seed: int = 0) -> np.ndarray:
    """Simulates an encrypted run.

    Args:
      program: what to run.
      x: inputs [b, *input_shape]; they are clipped to the program's box, as a client does.
      seed: of the noise.

    Returns:
      float64 [b, *output_shape], with an error like that of an encrypted run.

    Raises:
      ValueError: inputs of another shape, or an output near its bound.
      OverflowError: a layer's values wrap around the modulus; an encrypted run would return noise.
    """
    interface = program.interface
    x = real_rows("x", x, interface.input_shape)
    _check_bounds(program, x)
    backend = SimulatedBackend(interface.parameters, seed)
    execute = Executor(program, backend)
    chunks = []
    for start in range(0, len(x), interface.samples):
        rows = x[start : start + interface.samples]
        outputs = execute([backend.encrypt(vector) for vector in pack(rows, interface)])
        chunks.append(unpack(np.stack([backend.decrypt(each) for each in outputs]), len(rows), interface))
    return np.concatenate(chunks)


def _check_bounds(program: Program, x: Array) -> None:
    """Names the layer whose values wrap around; the backend would only know the level."""
    flat = np.clip(np.asarray(x, np.float64).reshape(len(x), -1), program.interface.box_low, program.interface.box_high)
    largest = largest_values(program.circuit, flat.reshape(len(x), *program.interface.input_shape))
    for (name, _, bound), value in zip(program.ranges, largest, strict=True):
        if not value < bound:
            raise OverflowError(
                f"{name} reaches {value:.3g} on this data; above {bound:.3g} its ciphertext wraps around. Compile with "
                "data of this range, or clip the inputs to a smaller box."
            )
