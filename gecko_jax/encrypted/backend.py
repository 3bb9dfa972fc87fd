"""What the executor asks of ciphertexts. SEAL, a simulation in NumPy and a counter of operations each answer it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gecko_jax.encrypted.parameters import Parameters


class Backend(Protocol):
    """Evaluates on ciphertexts; it can neither encrypt nor decrypt.

    A ciphertext has a level (rescalings that are still possible) and a scale. `add` may overwrite its left argument;
    no other operation changes an argument.

    Attributes:
      parameters: of all ciphertexts.
    """

    parameters: Parameters

    def level(self, ciphertext: Any) -> int:
        """Rescalings that are still possible."""
        ...

    def scale(self, ciphertext: Any) -> float:
        """What the numbers are multiplied by."""
        ...

    def encode(self, values: np.ndarray, level: int, scale: float) -> Any:
        """A plaintext of [slots] numbers, or of one number in all slots if `values` has one entry. Never all zeros."""
        ...

    def add(self, left: Any, right: Any) -> Any:
        """The sum of two ciphertexts of one level and scale."""
        ...

    def add_plain(self, ciphertext: Any, plaintext: Any) -> Any:
        """The sum with a plaintext of the same level and scale."""
        ...

    def mul_plain(self, ciphertext: Any, plaintext: Any, scale: float) -> Any:
        """The product with a plaintext of the same level; `scale` is that of the result, exactly."""
        ...

    def multiply(self, left: Any, right: Any) -> Any:
        """The product of two ciphertexts of one level, relinearized; `left is right` means a square."""
        ...

    def rescale(self, ciphertext: Any, scale: float | None = None) -> Any:
        """Drops a prime and divides by it; `scale` is that of the result, if it is known exactly."""
        ...

    def rotate(self, ciphertext: Any, step: int) -> Any:
        """Rotates the slots to the left: slot i gets the number of slot i + step."""
        ...

    def mod_switch(self, ciphertext: Any, level: int) -> Any:
        """Drops primes down to a level and keeps the scale."""
        ...
