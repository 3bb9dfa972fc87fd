"""Counts operations on each level instead of computing: the base of every prediction of time, keys and memory."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from gecko_jax.encrypted.parameters import Parameters


class Counted(NamedTuple):
    """A ciphertext or plaintext of which only level and scale are known."""

    level: int
    scale: float


class CountingBackend:
    """A `Backend` that counts.

    Args:
      parameters: of the program.

    Attributes:
      counts: {(operation, primes of its argument): how often}; operations are named as in `cost_table`.
      rotations: steps, in slots.
    """

    def __init__(self, parameters: Parameters):
        self.parameters = parameters
        self.counts: Counter[tuple[str, int]] = Counter()
        self.rotations: set[int] = set()

    def fresh(self) -> Counted:
        """Returns what stands for a fresh ciphertext."""
        return Counted(self.parameters.levels, self.parameters.scale)

    def level(self, ciphertext: Counted) -> int:
        """Returns the rescalings that are still possible."""
        return ciphertext.level

    def scale(self, ciphertext: Counted) -> float:
        """Returns the ciphertext's scale."""
        return ciphertext.scale

    def encode(self, values: np.ndarray, level: int, scale: float) -> Counted:
        """Counts an encoding, of one number or of all slots."""
        return self._count("encode_scalar" if len(values) == 1 else "encode", Counted(level, scale))

    def add(self, left: Counted, right: Counted) -> Counted:
        """Counts an addition."""
        assert left == right, f"a sum of {left} and {right}"
        return self._count("add", left)

    def add_plain(self, ciphertext: Counted, plaintext: Counted) -> Counted:
        """Counts an addition of a plaintext."""
        assert ciphertext == plaintext, f"a sum of {ciphertext} and the plaintext {plaintext}"
        return self._count("add", ciphertext)

    def mul_plain(self, ciphertext: Counted, plaintext: Counted, scale: float) -> Counted:
        """Counts a product with a plaintext."""
        assert ciphertext.level == plaintext.level, f"a product of {ciphertext} and the plaintext {plaintext}"
        return self._count("mul_plain", ciphertext)._replace(scale=scale)

    def multiply(self, left: Counted, right: Counted) -> Counted:
        """Counts a product and its relinearization."""
        assert left.level == right.level, f"a product of {left} and {right}"
        operation = "square" if left is right else "multiply"
        return self._count(operation, left)._replace(scale=left.scale * right.scale)

    def rescale(self, ciphertext: Counted, scale: float | None = None) -> Counted:
        """Counts a rescaling."""
        self._count("rescale", ciphertext)
        exact = ciphertext.scale / self.parameters.moduli[ciphertext.level]
        return Counted(ciphertext.level - 1, exact if scale is None else scale)

    def rotate(self, ciphertext: Counted, step: int) -> Counted:
        """Counts a rotation and notes its step."""
        self.rotations.add(step % self.parameters.slots)
        return self._count("rotate", ciphertext)

    def mod_switch(self, ciphertext: Counted, level: int) -> Counted:
        """Moves to another level, which costs next to nothing."""
        return ciphertext._replace(level=level)

    def _count(self, operation: str, item: Counted) -> Counted:
        self.counts[operation, item.level + 1] += 1
        return item
