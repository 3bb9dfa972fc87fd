"""Inner-product functional encryption: who holds a key of the row y learns <x, y> of an encrypted x, and no more.

    authority   secret s_i, public h_i = s_i g           the key of a row y is <s, y>
    client      c_0 = r g, c_i = r h_i + x_i g           with a fresh r for each input
    server      sum_i y_i c_i - <s, y> c_0 = <x, y> g    and a search for the small <x, y>

The group is Curve25519 in `pymife`, whose scheme "DDH" is selectively secure. Its default group is not used: the order
of that group has small factors, and a ciphertext in it gives away x modulo each of them. Its other scheme, "Damgard",
takes two equal generators on Curve25519. The package is not reviewed, says so, and runs in variable time: for research
only.

Source: Abdalla, Bourse, De Caro, Pointcheval 2015, "Simple functional encryption schemes for inner products".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, extras
from gecko_jax.encrypted.functional.quantized_layer import QuantizedLayer

POINT_BYTES = 64  # both coordinates


class Ciphertext(NamedTuple):
    """One encrypted input: a point of the curve for each number, and one more.

    Attributes:
      points: pymife's ciphertext.
      inputs: length of the input.
    """

    points: Any
    inputs: int

    @property
    def size_bytes(self) -> int:
        """Bytes of its points, both coordinates of 32 bytes each."""
        return POINT_BYTES * (self.inputs + 1)


class PublicKey(NamedTuple):
    """What a client encrypts with.

    Attributes:
      key: pymife's public key.
      inputs: length of the inputs.
    """

    key: Any
    inputs: int

    def encrypt(self, x: np.ndarray) -> list[Ciphertext]:
        """Encrypts integer inputs.

        Args:
          x: int [b, inputs].

        Returns:
          A ciphertext for each row.

        Raises:
          ValueError: inputs of another shape, or not integers.
        """
        checks.shape("x", x, (None, self.inputs))
        if not np.issubdtype(np.asarray(x).dtype, np.integer):
            raise ValueError(f"x has dtype {np.asarray(x).dtype}; expected integers, from QuantizedLayer.quantize.")
        scheme, _ = _pymife()
        return [Ciphertext(scheme.encrypt([int(v) for v in row], self.key), self.inputs) for row in x]


class LayerKeys(NamedTuple):
    """What a server decrypts a layer's results with, and nothing else.

    Attributes:
      public: the public key.
      rows: pymife's key of each row.
      bounds: the largest magnitude of each result.
    """

    public: PublicKey
    rows: tuple[Any, ...]
    bounds: tuple[int, ...]

    def decrypt(self, ciphertexts: Sequence[Ciphertext]) -> np.ndarray:
        """Decrypts the layer's integer results.

        Args:
          ciphertexts: of the inputs.

        Returns:
          int64 [b, outputs]: the inputs times the layer's weights, exactly.

        Raises:
          ValueError: a ciphertext of another length, or of another authority's key.
        """
        scheme, _ = _pymife()
        return np.array([[self._one(scheme, ciphertext, row) for row in range(len(self.rows))]
                         for ciphertext in ciphertexts], np.int64).reshape(len(ciphertexts), -1)  # fmt: skip

    def _one(self, scheme: Any, ciphertext: Ciphertext, row: int) -> int:
        if ciphertext.inputs != self.public.inputs:
            raise ValueError(f"a ciphertext holds {ciphertext.inputs} numbers; expected {self.public.inputs}.")
        bound = self.bounds[row]
        try:
            return scheme.decrypt(ciphertext.points, self.public.key, self.rows[row], (-bound, bound))
        except Exception as error:
            raise ValueError(
                f"result {row} is not within its bound of {bound}: the input was not encrypted under this authority's "
                "public key, or not by QuantizedLayer.quantize."
            ) from error


class Authority:
    """Holds the master key; neither the client nor the server may.

    Keys of rows add up: who holds several layers' keys can decrypt every combination of their rows. The authority
    counts the rank of all that it issued, and stops before the server could solve for the input.

    Attributes:
      public_key: for the clients.

    >>> from gecko_jax.encrypted.functional.quantized_layer import QuantizedLayer
    >>> layer = QuantizedLayer(np.array([[3, -2, 1]]), np.ones(1), np.zeros(1), 1.0, 4, None)
    >>> authority = Authority(3)
    >>> keys = authority.issue(layer)
    >>> [ciphertext] = authority.public_key.encrypt(np.array([[4, -4, 1]]))
    >>> keys.decrypt([ciphertext]).tolist(), ciphertext.size_bytes, authority.rank()
    ([[21]], 256, 1)
    """

    def __init__(self, inputs: int) -> None:
        """Draws the keys, from the operating system's generator."""
        scheme, curve = _pymife()
        self._master = scheme.generate(checks.integer("inputs", inputs, 1), curve())
        self._issued = np.zeros((0, inputs), np.int64)
        self.public_key = PublicKey(self._master.get_public_key(), inputs)

    def rank(self) -> int:
        """Returns the rank of all rows whose keys were issued."""
        return int(np.linalg.matrix_rank(self._issued.astype(np.float64))) if len(self._issued) else 0

    def issue(self, layer: QuantizedLayer) -> LayerKeys:
        """Issues the keys of a layer's rows to a server.

        Args:
          layer: the layer.

        Returns:
          Its keys.

        Raises:
          ValueError: weights of another width, or rows whose results determine the input.
        """
        inputs = self.public_key.inputs
        checks.shape("layer.weights", layer.weights, (None, inputs))
        together = np.concatenate([self._issued, layer.weights])
        if (rank := int(np.linalg.matrix_rank(together.astype(np.float64)))) >= inputs:
            raise ValueError(
                f"with this layer, the issued rows have rank {rank}, as many as the {inputs} inputs: the server would "
                "solve for the input, and encryption would hide nothing. Use a layer with fewer outputs, another "
                "authority for another model, or encrypted.compile."
            )
        scheme, _ = _pymife()
        self._issued = together
        rows = tuple(scheme.keygen([int(v) for v in row], self._master) for row in layer.weights)
        return LayerKeys(self.public_key, rows, tuple(int(bound) for bound in layer.bounds()))


def _pymife() -> tuple[Any, Any]:
    extras.require("mife", "inner-product functional encryption")
    from mife.data.curve25519 import Curve25519
    from mife.single.selective.ddh import FeDDH

    return FeDDH, Curve25519
