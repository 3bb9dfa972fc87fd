"""The client's side of SEAL: the secret key, what is made from it, encryption and decryption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.encrypted.parameters import Parameters
from gecko_jax.encrypted.seal_backend import galois_element, level_ids, seal_context
from gecko_jax.encrypted.seal_bytes import sealapi


class SealSecrets:
    """A secret key and what only its holder can do.

    Args:
      parameters: of the program.
      secret_key: SEAL's SecretKey; a fresh one if None.
      context: what `seal_context` returned for the parameters; built if None.
    """

    def __init__(self, parameters: Parameters, secret_key: Any = None, context: Any = None):
        self.api = sealapi()
        self.parameters = parameters
        self.context = seal_context(parameters) if context is None else context
        arguments = () if secret_key is None else (secret_key,)
        self._generator = self.api.KeyGenerator(self.context, *arguments)
        self.secret_key = self._generator.secret_key()
        self._encryptor = self.api.Encryptor(self.context, self.secret_key)
        self._decryptor = self.api.Decryptor(self.context, self.secret_key)
        self._encoder = self.api.CKKSEncoder(self.context)
        self._first_id = level_ids(self.context)[-1]

    def relin_keys(self, serializable: bool = False) -> Any:
        """Makes relinearization keys.

        Args:
          serializable: return the seeded form, which can only be saved and takes half the bytes.
        """
        return self._made(self._generator.create_relin_keys, "RelinKeys", (), serializable)

    def galois_keys(self, steps: Sequence[int], serializable: bool = False) -> Any:
        """Makes the keys for rotations.

        Args:
          steps: rotations to the left, in slots; at least one.
          serializable: return the seeded form, which can only be saved and takes half the bytes.
        """
        elements = [galois_element(step, self.parameters.degree) for step in steps]
        return self._made(self._generator.create_galois_keys, "GaloisKeys", (elements,), serializable)

    def encrypt(self, values: np.ndarray, serializable: bool = False) -> Any:
        """Encrypts [slots] numbers on the highest level.

        Args:
          values: float64 [slots].
          serializable: return the seeded form, which can only be saved and takes half the bytes.
        """
        plaintext = self.api.Plaintext()
        self._encoder.encode(np.asarray(values).tolist(), self._first_id, self.parameters.scale, plaintext)
        return self._made(self._encryptor.encrypt_symmetric, "Ciphertext", (plaintext,), serializable)

    def decrypt(self, ciphertext: Any) -> np.ndarray:
        """Decrypts a ciphertext.

        Args:
          ciphertext: of any level.

        Returns:
          float64 [slots].
        """
        plaintext = self.api.Plaintext()
        self._decryptor.decrypt(ciphertext, plaintext)
        return np.asarray(self._encoder.decode_double(plaintext))

    def _made(self, make: Any, kind: str, arguments: tuple[Any, ...], serializable: bool) -> Any:
        if serializable:
            return make(*arguments)
        result = getattr(self.api, kind)()
        make(*arguments, result)
        return result
