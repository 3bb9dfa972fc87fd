"""CKKS parameters: the ring, the chain of primes and the scale, within the bounds for a security level.

A ciphertext starts on the primes q0 q1 ... qL. Each rescaling drops the last one, so that L is the number of
multiplications, by weights or by ciphertexts, that may follow one another. P serves key switching alone.

    q0 = scale * 2^HEADROOM_BITS    values up to 2^(HEADROOM_BITS - 1) decrypt on the last level
    q1 ... qL = scale               a product of two values of one scale has that scale again after rescaling
    P > q0                          keeps the noise of key switching below that of rescaling
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gecko_jax import checks

# security in bits -> {N: the largest log2(q0 ... qL P)}. HomomorphicEncryption.org standard (2018), table 1, ternary.
MAX_LOG_QP = {
    128: {2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881},
    192: {2048: 37, 4096: 75, 8192: 152, 16384: 305, 32768: 611},
    256: {2048: 29, 4096: 58, 8192: 118, 16384: 237, 32768: 476},
}
HEADROOM_BITS = 5
MIN_SCALE_BITS, MAX_SCALE_BITS = 25, 45  # below 25 bits, N=32768 has too few primes
MIN_KEY_SWITCHING_BITS, MAX_PRIME_BITS = 4, 60  # of P above q0; of a prime that SEAL takes


class Parameters(NamedTuple):
    """CKKS parameters.

    Attributes:
      degree: N, a power of two; a ciphertext holds N / 2 numbers.
      moduli: the primes q0, q1, ..., qL, P.
      scale: what a number is multiplied by before it is rounded to an integer.
      security: in bits, by the standard's table.
    """

    degree: int
    moduli: tuple[int, ...]
    scale: float
    security: int

    @property
    def slots(self) -> int:
        """Numbers in a ciphertext."""
        return self.degree // 2

    @property
    def levels(self) -> int:
        """Rescalings that a fresh ciphertext allows: L."""
        return len(self.moduli) - 2

    def bound(self, level: int, scale: float) -> float:
        """Returns the absolute value above which a number wraps around the modulus.

        Args:
          level: rescalings that are still possible.
          scale: of the ciphertext.
        """
        return math.exp(math.fsum(math.log(q) for q in self.moduli[: level + 1]) - math.log(2 * scale))


def choose(depth: int, degree: int, security: int = 128) -> Parameters:
    """Chooses the most precise parameters of a ring for a circuit's depth.

    Args:
      depth: rescalings on the longest way from the input to the output.
      degree: N, one of the table's.
      security: 128, 192 or 256 bits.

    Returns:
      Parameters whose scale is as large as the security allows, at most 2^45.

    Raises:
      ValueError: a depth that leaves fewer than 25 bits for the scale.

    >>> parameters = choose(depth=5, degree=8192)
    >>> [modulus.bit_length() for modulus in parameters.moduli]
    [34, 29, 29, 29, 29, 29, 39]
    """
    limits = checks.lookup("security", security, MAX_LOG_QP)  # type: ignore[arg-type]
    total = checks.lookup("degree", degree, limits)  # type: ignore[arg-type]
    depth = checks.integer("depth", depth, 0)
    bits = (total - 2 * HEADROOM_BITS - MIN_KEY_SWITCHING_BITS) // (depth + 2)
    if bits < MIN_SCALE_BITS:
        raise ValueError(
            f"A circuit of depth {depth} leaves {max(bits, 0)} bits for the scale in {total} bits of modulus, which is "
            f"the bound for {security}-bit security at N={degree}; at least {MIN_SCALE_BITS} are needed, so that depth "
            f"{max_depth(degree, security)} is the largest here. Use a larger N, fewer activations or a lower degree."
        )
    bits = min(bits, MAX_SCALE_BITS)
    first = bits + HEADROOM_BITS
    special = min(total - first - depth * bits, MAX_PRIME_BITS)
    moduli = _primes(degree, [first, *[bits] * depth, special])
    return Parameters(degree, moduli, float(2**bits), security)


def max_depth(degree: int, security: int = 128) -> int:
    """Returns the largest depth that `choose` accepts for a ring.

    Args:
      degree: N.
      security: 128, 192 or 256 bits.

    >>> max_depth(8192), max_depth(32768)
    (6, 32)
    """
    total = MAX_LOG_QP[security][degree]
    return (total - 2 * HEADROOM_BITS - MIN_KEY_SWITCHING_BITS) // MIN_SCALE_BITS - 2


def _primes(degree: int, bits: list[int]) -> tuple[int, ...]:
    """Returns distinct primes of the given lengths that are 1 modulo 2N, the largest ones below each power of two."""
    primes: list[int] = []
    for length in bits:
        candidate = (1 << length) - 2 * degree + 1
        while candidate in primes or not _is_prime(candidate):
            candidate -= 2 * degree
        if candidate.bit_length() != length:
            raise ValueError(f"There are too few primes of {length} bits that are 1 modulo {2 * degree}.")
        primes.append(candidate)
    return tuple(primes)


def _is_prime(number: int) -> bool:
    """Miller-Rabin; these bases decide every number below 3.3e24."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        if number % base == 0:
            return number == base
        power = pow(base, odd, number)
        if power not in (1, number - 1) and all(
            (power := power * power % number) != number - 1 for _ in range(twos - 1)
        ):
            return False
    return True
