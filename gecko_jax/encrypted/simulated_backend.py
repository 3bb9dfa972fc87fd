"""Simulates ciphertexts in NumPy: slots, levels, scales, and the noise of each operation. It needs no SEAL.

Noise is drawn in the slots. Independent coefficients of variance v put N v / 2 on the real part of each slot:

    encryption      v = 3.2^2                          the error of a fresh ciphertext
    encoding        v = 2/12                           rounding coefficients; the error of real numbers is real, too
    rescaling       v = (1 + 2 N / 3) / 12             rounding both halves, one of which meets a ternary key
    key switching   the same rounding, and digits times errors: sum over i of (N q_i^2 / 12) 3.2^2 / P^2

SEAL's digits lie in [0, q_i). Their mean, q_i / 2 in each coefficient, is q_i / (1 - zeta) in the slot of the root
zeta: a hundred times more than the rest in the few slots whose root is near 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.encrypted.parameters import Parameters

ERROR_STD = 3.2  # SEAL's noise_standard_deviation


class Simulated(NamedTuple):
    """A simulated ciphertext: the numbers in its slots, its level and its scale."""

    values: np.ndarray
    level: int
    scale: float


class SimulatedBackend:
    """A `Backend` of `Simulated` ciphertexts.

    Args:
      parameters: of the program.
      seed: of the noise.
    """

    def __init__(self, parameters: Parameters, seed: int = 0):
        self.parameters = parameters
        self._rng = np.random.default_rng(seed)
        degree = parameters.degree
        self._spread = np.sqrt(degree / 2)  # of one unit of a coefficient's deviation, in the real part of a slot
        self._rounding = (1 + 2 * degree / 3) / 12
        exponents = np.empty(parameters.slots, np.int64)
        power = 1
        for slot in range(parameters.slots):
            exponents[slot], power = power, power * 3 % (2 * degree)
        distance = 2 * np.abs(np.sin(np.pi * exponents / (2 * degree)))  # |1 - zeta| of each slot's root
        self._digits = ERROR_STD**2 * (degree / 12 + 1 / distance**2) / float(parameters.moduli[-1]) ** 2

    def encrypt(self, values: np.ndarray) -> Simulated:
        """Simulates a fresh ciphertext.

        Args:
          values: float64 [slots].
        """
        fresh = Simulated(np.asarray(values, np.float64), self.parameters.levels, self.parameters.scale)
        return self._noisy(fresh, ERROR_STD**2 + 1 / 6)

    def decrypt(self, ciphertext: Simulated) -> np.ndarray:
        """Returns the numbers, after a check that they have not wrapped around the modulus.

        Args:
          ciphertext: a simulated one.

        Raises:
          OverflowError: a number above the bound of its level.
        """
        self._check(ciphertext.values, ciphertext.level, ciphertext.scale)
        return ciphertext.values

    def level(self, ciphertext: Simulated) -> int:
        """Returns the rescalings that are still possible."""
        return ciphertext.level

    def scale(self, ciphertext: Simulated) -> float:
        """Returns the ciphertext's scale."""
        return ciphertext.scale

    def encode(self, values: np.ndarray, level: int, scale: float) -> Simulated:
        """Returns a rounded plaintext: one number exactly as SEAL rounds it, several with the noise of rounding."""
        if len(values) == 1:
            return Simulated(np.rint(values * scale) / scale, level, scale)
        # Numbers that repeat after a period are a polynomial of fewer coefficients, so that less is rounded.
        values = np.asarray(values, np.float64)
        period = len(values)
        while period > 1 and np.array_equal(values[: period // 2], values[period // 2 : period]):
            period //= 2
        noise = self._rng.standard_normal(period) * np.sqrt(period / len(values) / 6) * self._spread / scale
        return Simulated(np.tile(values[:period] + noise, len(values) // period), level, scale)

    def add(self, left: Simulated, right: Simulated) -> Simulated:
        """Returns the sum."""
        return left._replace(values=left.values + right.values)

    def add_plain(self, ciphertext: Simulated, plaintext: Simulated) -> Simulated:
        """Returns the sum with a plaintext."""
        return self.add(ciphertext, plaintext)

    def mul_plain(self, ciphertext: Simulated, plaintext: Simulated, scale: float) -> Simulated:
        """Returns the product with a plaintext."""
        return ciphertext._replace(values=ciphertext.values * plaintext.values, scale=scale)

    def multiply(self, left: Simulated, right: Simulated) -> Simulated:
        """Returns the relinearized product, after a check for a wrap around."""
        product = Simulated(left.values * right.values, left.level, left.scale * right.scale)
        self._check(product.values, product.level, product.scale)
        return self._switched(product)

    def rescale(self, ciphertext: Simulated, scale: float | None = None) -> Simulated:
        """Returns the ciphertext on one level less, with the noise of rounding."""
        result = scale or ciphertext.scale / self.parameters.moduli[ciphertext.level]
        return self._noisy(Simulated(ciphertext.values, ciphertext.level - 1, result), self._rounding)

    def rotate(self, ciphertext: Simulated, step: int) -> Simulated:
        """Returns the rotated ciphertext."""
        return self._switched(ciphertext._replace(values=np.roll(ciphertext.values, -step)))

    def mod_switch(self, ciphertext: Simulated, level: int) -> Simulated:
        """Returns the ciphertext on fewer primes, which adds no noise."""
        return ciphertext._replace(level=level)

    def _switched(self, ciphertext: Simulated) -> Simulated:
        squares = sum(float(q) ** 2 for q in self.parameters.moduli[: ciphertext.level + 1])
        return self._noisy(ciphertext, self._rounding + squares * self._digits)

    def _noisy(self, ciphertext: Simulated, variance: float | np.ndarray) -> Simulated:
        noise = self._rng.standard_normal(self.parameters.slots) * np.sqrt(variance)
        return ciphertext._replace(values=ciphertext.values + noise * (self._spread / ciphertext.scale))

    def _check(self, values: np.ndarray, level: int, scale: float) -> None:
        largest, bound = np.abs(values).max(), self.parameters.bound(level, scale)
        if not largest < bound:
            raise OverflowError(f"A number of {largest:.3g} wraps around on level {level}; the bound is {bound:.3g}.")
