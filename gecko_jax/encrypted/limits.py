"""The most bytes that a blob of a program can have, so that a larger one is refused before it is read or parsed."""

from __future__ import annotations

from gecko_jax import checks
from gecko_jax.encrypted.blobs import HEADER_BYTES
from gecko_jax.encrypted.program import Interface

RESIDUE_BYTES = 8  # SEAL stores a coefficient modulo each prime in a word
COMPRESSION = 1.02  # SEAL's compression makes what is random at most this much larger
OBJECT_BYTES = 1024  # headers of SEAL and of a part
MAX_INTERFACE_BYTES = 64 << 20  # the public part of a program, which lists positions
KINDS = ("evaluation keys", "encrypted input", "encrypted output", "secret key")


def max_bytes(kind: str, interface: Interface) -> int:
    """Returns the most bytes that a blob of a program can have.

    Args:
      kind: "evaluation keys", "encrypted input", "encrypted output" or "secret key".
      interface: the program's public part.

    Raises:
      ValueError: if the kind is another.
    """
    checks.one_of("kind", kind, KINDS)
    primes = len(interface.parameters.moduli)
    ciphertext = _polynomials(interface, 2, primes - 1)
    if kind == "encrypted input":
        return HEADER_BYTES + len(interface.input_features) * ciphertext
    if kind == "encrypted output":
        return HEADER_BYTES + len(interface.output_features) * ciphertext
    if kind == "secret key":
        return HEADER_BYTES + _polynomials(interface, 1, primes)
    # A key is a pair of polynomials modulo all primes for each prime of the ciphertext; Galois keys have a table, too.
    keys = (len(interface.rotations) + interface.relinearizes) * (primes - 1)
    table = 2 * RESIDUE_BYTES * interface.parameters.degree
    return HEADER_BYTES + keys * _polynomials(interface, 2, primes) + table + 2 * OBJECT_BYTES


def _polynomials(interface: Interface, count: int, primes: int) -> int:
    return OBJECT_BYTES + int(COMPRESSION * count * primes * interface.parameters.degree * RESIDUE_BYTES)
