"""Seconds of each operation on ciphertexts, by the number of primes: a table to choose by, or a measurement to report.

The table was measured at N=8192 with SEAL on one core of a shared x86 server, and scales with N log N. `measure` times
this machine in about a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gecko_jax.encrypted.parameters import Parameters

Costs = Mapping[tuple[str, int], float]

MILLISECONDS = {  # at N=8192: (time per prime, time per pair of primes)
    "add": (0.014, 0.0),
    "encode": (0.145, 0.0),
    "encode_scalar": (0.003, 0.0),
    "encrypt": (0.95, 0.0),  # encode, and write the seeded form as bytes
    "decrypt": (0.65, 0.0),  # read from bytes, and decode
    "read": (0.32, 0.0),  # a seeded ciphertext from bytes
    "write": (0.55, 0.0),  # a ciphertext as bytes
    "mul_plain": (0.055, 0.0),
    "multiply": (0.54, 0.11),  # and relinearize, as in a square
    "square": (0.51, 0.11),
    "rotate": (0.42, 0.11),
    "rescale": (0.20, 0.0),
}
TABLE_DEGREE = 8192


def table(parameters: Parameters) -> dict[tuple[str, int], float]:
    """Returns modeled seconds: {(operation, primes of its argument): seconds}.

    Args:
      parameters: of the ciphertexts.

    >>> from gecko_jax.encrypted.parameters import choose
    >>> seconds = table(choose(depth=5, degree=8192))
    >>> seconds["rotate", 6] > 10 * seconds["mul_plain", 6]
    True
    """
    degree = parameters.degree
    factor = degree * math.log2(degree) / (TABLE_DEGREE * math.log2(TABLE_DEGREE)) / 1e3
    return {
        (operation, primes): factor * (single * primes + pair * primes**2)
        for operation, (single, pair) in MILLISECONDS.items()
        for primes in range(1, parameters.levels + 2)
    }


def measure(parameters: Parameters, repeats: int = 3) -> dict[tuple[str, int], float]:
    """Measures CPU seconds of each operation on this machine.

    Args:
      parameters: of the ciphertexts.
      repeats: of each operation; the smallest time counts.

    Returns:
      {(operation, primes of its argument): seconds}.

    Raises:
      ImportError: if SEAL's binding is not installed.

    >>> from gecko_jax.encrypted.parameters import choose
    >>> measure(choose(depth=1, degree=4096), repeats=1)["rotate", 2] > 0
    True
    """
    from gecko_jax.encrypted.seal_backend import SealBackend
    from gecko_jax.encrypted.seal_bytes import from_bytes, to_bytes
    from gecko_jax.encrypted.seal_secrets import SealSecrets

    secrets = SealSecrets(parameters)
    backend = SealBackend(parameters, secrets.relin_keys(), secrets.galois_keys([1]), secrets.context)
    values = np.linspace(-1, 1, parameters.slots)
    fresh = secrets.encrypt(values)
    sent = to_bytes(secrets.encrypt(values, serializable=True))
    on_fresh: dict[str, Callable[[], Any]] = {
        "encrypt": lambda: to_bytes(secrets.encrypt(values, serializable=True)),
        "read": lambda: from_bytes("Ciphertext", sent, secrets.context),
    }
    seconds = {(operation, parameters.levels + 1): _fastest(run, repeats) for operation, run in on_fresh.items()}
    for level in range(parameters.levels, -1, -1):
        for operation, run in _operations(backend, secrets, backend.mod_switch(fresh, level), values).items():
            seconds[operation, level + 1] = _fastest(run, repeats)
    return seconds


def _operations(backend: Any, secrets: Any, item: Any, values: np.ndarray) -> dict[str, Callable[[], Any]]:
    """{operation: a function that runs it once} on a ciphertext's level."""
    from gecko_jax.encrypted.seal_bytes import from_bytes, to_bytes

    level, scale = backend.level(item), backend.scale(item)
    total, content = backend.rotate(item, 1), to_bytes(item)
    operations: dict[str, Callable[[], Any]] = {
        "add": lambda: backend.add(total, item),
        "encode": lambda: backend.encode(values, level, scale),
        "encode_scalar": lambda: backend.encode(values[-1:], level, scale),
        "rotate": lambda: backend.rotate(item, 1),
        "decrypt": lambda: secrets.decrypt(from_bytes("Ciphertext", content, secrets.context)),
        "write": lambda: to_bytes(item),
    }
    if level:  # each of these is followed by a rescaling
        plaintext = backend.encode(values, level, scale)
        operations |= {
            "mul_plain": lambda: backend.mul_plain(item, plaintext, scale),
            "square": lambda: backend.multiply(item, item),
            "multiply": lambda: backend.multiply(item, total),
            "rescale": lambda: backend.rescale(item, scale),
        }
    return operations


def _fastest(run: Callable[[], Any], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)
