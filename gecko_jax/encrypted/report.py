"""What a program costs: seconds, megabytes and keys, predicted from counted operations."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gecko_jax import text_tables
from gecko_jax.encrypted.cost_table import Costs, measure, table
from gecko_jax.encrypted.counting_backend import CountingBackend
from gecko_jax.encrypted.executor import MAX_CACHED_BYTES, Executor, encoded_bytes
from gecko_jax.encrypted.parameters import Parameters
from gecko_jax.encrypted.program import Program

WORD_BYTES = 8  # in which SEAL holds a coefficient modulo a prime


class EncryptedReport(NamedTuple):
    """Costs of one run of a program, on one core. Megabytes are 10^6 bytes, as they are sent: compressed by SEAL.

    Attributes:
      seconds_from: "modeled" by the library's table, or "measured operations" of this machine times their number.
      degree, modulus_bits, security, levels: of the parameters.
      width, samples: positions in a ciphertext, and examples that share a run.
      operations: {operation: how often}.
      setup_seconds: encoding the weights, once; 0 if they do not fit in memory, because each run then encodes them.
      run_seconds: of the server, from bytes to bytes.
      seconds_per_sample: run_seconds over samples.
      encrypt_seconds, decrypt_seconds: of the client, to bytes and from bytes.
      rotation_keys: how many Galois keys the client makes.
      keys_megabytes: of all evaluation keys, in the seeded form that is sent.
      upload_megabytes, download_megabytes: ciphertexts of one run, the upload seeded.
      server_megabytes: keys and encoded weights that stay in the server's memory.
    """

    seconds_from: str
    degree: int
    modulus_bits: float
    security: int
    levels: int
    width: int
    samples: int
    operations: dict[str, int]
    setup_seconds: float
    run_seconds: float
    seconds_per_sample: float
    encrypt_seconds: float
    decrypt_seconds: float
    rotation_keys: int
    keys_megabytes: float
    upload_megabytes: float
    download_megabytes: float
    server_megabytes: float

    def __str__(self) -> str:
        rows = [["", ""]]
        for name, value in self._asdict().items():
            text = ", ".join(f"{count:,} {key}" for key, count in value.items()) if isinstance(value, dict) else value
            rows.append([name.replace("_", " "), f"{text:.4g}" if isinstance(text, float) else str(text)])
        return "\n".join(text_tables.aligned(rows[1:], left=2, rule=False))


def report(program: Program, measured: bool = False) -> EncryptedReport:
    """Predicts what a program costs.

    Args:
      program: of which.
      measured: time the operations on this machine, which takes seconds and SEAL, instead of using the library's table.

    Returns:
      The report.

    Raises:
      ImportError: if `measured` and SEAL's binding is not installed.
    """
    interface, parameters = program.interface, program.interface.parameters
    counts = count(program).counts
    costs = measure(parameters) if measured else table(parameters)
    inputs, outputs = len(interface.input_features), len(interface.output_features)
    operations: dict[str, int] = {}
    for (operation, _), number in sorted(counts.items()):
        operations[operation] = operations.get(operation, 0) + number
    fresh = parameters.levels + 1
    setup = sum(number * costs[item] for item, number in counts.items() if item[0] == "encode")
    exchange = inputs * costs["read", fresh] + outputs * costs["write", interface.output_level + 1]
    encoded = encoded_bytes(program)
    in_memory = encoded <= MAX_CACHED_BYTES  # else each run encodes the weights again
    run = seconds(counts, costs) + exchange + (0.0 if in_memory else setup)
    words = [word_bytes(modulus) for modulus in parameters.moduli]
    degree = parameters.degree
    key = degree * fresh * sum(words)  # seeded: one of two polynomials for each digit
    keys = len(interface.rotations) + interface.relinearizes
    return EncryptedReport(
        seconds_from="measured operations" if measured else "modeled",
        degree=degree,
        modulus_bits=sum(map(math.log2, parameters.moduli)),
        security=parameters.security,
        levels=parameters.levels,
        width=interface.input_features.shape[1],
        samples=interface.samples,
        operations=operations,
        setup_seconds=setup if in_memory else 0.0,
        run_seconds=run,
        seconds_per_sample=run / interface.samples,
        encrypt_seconds=inputs * costs["encrypt", fresh],
        decrypt_seconds=outputs * costs["decrypt", interface.output_level + 1],
        rotation_keys=len(interface.rotations),
        keys_megabytes=keys * key / 1e6,
        upload_megabytes=inputs * degree * sum(words[:-1]) / 1e6,
        download_megabytes=outputs * 2 * degree * sum(words[: interface.output_level + 1]) / 1e6,
        server_megabytes=(keys * 2 * degree * fresh * (fresh + 1) * WORD_BYTES + encoded * in_memory) / 1e6,
    )


def count(program: Program) -> CountingBackend:
    """Counts the operations of one run.

    Args:
      program: of which.

    Returns:
      The backend that counted them.
    """
    backend = CountingBackend(program.interface.parameters)
    Executor(program, backend)([backend.fresh()] * len(program.interface.input_features))
    return backend


def seconds(counts: dict[tuple[str, int], int], costs: Costs) -> float:
    """Returns the seconds of a run; weights that are encoded once, before it, do not count.

    Args:
      counts: {(operation, primes): how often}.
      costs: {(operation, primes): seconds}.
    """
    return sum(number * costs[item] for item, number in counts.items() if item[0] != "encode")


def word_bytes(modulus: int) -> float:
    """Returns the bytes that a coefficient takes once SEAL has compressed it: the entropy of its eight bytes.

    Args:
      modulus: the prime; coefficients are uniform below it.

    >>> word_bytes(2**64 - 59)
    8.0
    >>> 4 < word_bytes(2**32 - 5) < 8  # half of the bytes are zero, and the code is one for all
    True
    """
    chances = np.zeros(256)
    for place in range(WORD_BYTES):
        bits = min(max(modulus.bit_length() - 8 * place, 0), 8)
        chances[: 2**bits] += 2.0**-bits / WORD_BYTES
    chances = chances[chances > 0]
    return float(-(chances * np.log2(chances)).sum() * WORD_BYTES / 8)


def parameter_line(parameters: Parameters) -> str:
    """Returns the parameters as one line of text.

    Args:
      parameters: of the ciphertexts.

    >>> from gecko_jax.encrypted.parameters import choose
    >>> parameter_line(choose(depth=1, degree=4096))
    'N=4096, moduli of 36, 31, 42 bits, scale 2^31, 128-bit security'
    """
    bits = ", ".join(str(modulus.bit_length()) for modulus in parameters.moduli)
    return (
        f"N={parameters.degree}, moduli of {bits} bits, scale 2^{math.log2(parameters.scale):.0f}, "
        f"{parameters.security}-bit security"
    )
