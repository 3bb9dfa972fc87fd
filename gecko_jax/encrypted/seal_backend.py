"""Evaluates on SEAL's ciphertexts with evaluation keys alone: nothing here can encrypt or decrypt."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax.encrypted.parameters import Parameters
from gecko_jax.encrypted.seal_bytes import sealapi

SECURITY_LEVELS = {128: "TC128", 192: "TC192", 256: "TC256"}


def seal_context(parameters: Parameters) -> Any:
    """Builds SEAL's context, which refuses insecure parameters.

    Args:
      parameters: of all ciphertexts and keys.

    Raises:
      ImportError: if SEAL's binding is not installed.
      ValueError: parameters that SEAL refuses.

    >>> from gecko_jax.encrypted.parameters import choose
    >>> seal_context(choose(depth=1, degree=4096)).parameters_set()
    True
    """
    api = sealapi()
    settings = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
    settings.set_poly_modulus_degree(parameters.degree)
    settings.set_coeff_modulus([api.Modulus(modulus) for modulus in parameters.moduli])
    level = getattr(api.SEC_LEVEL_TYPE, SECURITY_LEVELS[parameters.security])
    context = api.SEALContext(settings, True, level)
    if not context.parameters_set():
        raise ValueError(f"SEAL refuses the parameters {parameters}: {context.parameters_error_message()}.")
    return context


class SealBackend:
    """A `Backend` of SEAL's ciphertexts.

    Args:
      parameters: of the program.
      relin_keys: SEAL's RelinKeys; None if the program multiplies no ciphertexts.
      galois_keys: SEAL's GaloisKeys; None if the program rotates nothing.
      context: what `seal_context` returned for the parameters; built if None.
    """

    def __init__(self, parameters: Parameters, relin_keys: Any, galois_keys: Any, context: Any = None):
        self.api = sealapi()
        self.parameters = parameters
        self.context = seal_context(parameters) if context is None else context
        self.parms_ids = level_ids(self.context)
        self._levels = {tuple(parms_id): level for level, parms_id in enumerate(self.parms_ids)}
        self._evaluator = self.api.Evaluator(self.context)
        self._encoder = self.api.CKKSEncoder(self.context)
        self._relin_keys, self._galois_keys = relin_keys, galois_keys

    def level(self, ciphertext: Any) -> int:
        """Returns the rescalings that are still possible."""
        return self._levels[tuple(ciphertext.parms_id())]

    def scale(self, ciphertext: Any) -> float:
        """Returns the ciphertext's scale."""
        return ciphertext.scale

    def encode(self, values: np.ndarray, level: int, scale: float) -> Any:
        """Returns a plaintext; one that rounds to zero gets the smallest constant, since SEAL refuses zero products."""
        plaintext = self.api.Plaintext()
        content = float(values[0]) if len(values) == 1 else values.tolist()
        self._encoder.encode(content, self.parms_ids[level], scale, plaintext)
        if plaintext.is_zero():
            self._encoder.encode(1 / scale, self.parms_ids[level], scale, plaintext)
        return plaintext

    def add(self, left: Any, right: Any) -> Any:
        """Adds in place."""
        self._evaluator.add_inplace(left, right)
        return left

    def add_plain(self, ciphertext: Any, plaintext: Any) -> Any:
        """Returns the sum with a plaintext."""
        return self._new(self._evaluator.add_plain, ciphertext, plaintext)

    def mul_plain(self, ciphertext: Any, plaintext: Any, scale: float) -> Any:
        """Returns the product with a plaintext."""
        product = self._new(self._evaluator.multiply_plain, ciphertext, plaintext)
        product.scale = scale
        return product

    def multiply(self, left: Any, right: Any) -> Any:
        """Returns the relinearized product."""
        if left is right:
            product = self._new(self._evaluator.square, left)
        else:
            product = self._new(self._evaluator.multiply, left, right)
        self._evaluator.relinearize_inplace(product, self._relin_keys)
        return product

    def rescale(self, ciphertext: Any, scale: float | None = None) -> Any:
        """Returns the ciphertext divided by its last prime."""
        result = self._new(self._evaluator.rescale_to_next, ciphertext)
        if scale is not None:
            result.scale = scale
        return result

    def rotate(self, ciphertext: Any, step: int) -> Any:
        """Returns the rotated ciphertext."""
        element = galois_element(step, self.parameters.degree)
        return self._new(self._evaluator.apply_galois, ciphertext, element, self._galois_keys)

    def mod_switch(self, ciphertext: Any, level: int) -> Any:
        """Returns the ciphertext on fewer primes, or itself if it has that level."""
        if self.level(ciphertext) == level:
            return ciphertext
        return self._new(self._evaluator.mod_switch_to, ciphertext, self.parms_ids[level])

    def _new(self, operation: Any, *arguments: Any) -> Any:
        result = self.api.Ciphertext()
        operation(*arguments, result)
        return result


def level_ids(context: Any) -> list[Any]:
    """Returns SEAL's ids of the levels 0, 1, ..., L.

    Args:
      context: SEAL's.
    """
    data, ids = context.first_context_data(), []
    while data is not None:
        ids.append(data.parms_id())
        data = data.next_context_data()
    return ids[::-1]


def galois_element(step: int, degree: int) -> int:
    """Returns the automorphism X -> X^element that rotates the slots to the left.

    Args:
      step: in slots.
      degree: N.

    >>> galois_element(0, 8192), galois_element(1, 8192), galois_element(4095, 8192) * 3 % 16384
    (1, 3, 1)
    """
    return pow(3, step % (degree // 2), 2 * degree)
