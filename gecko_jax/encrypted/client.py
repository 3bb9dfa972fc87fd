"""The side that holds the secret key: it encrypts inputs and decrypts outputs, and needs no weights."""

from __future__ import annotations

import os
import pathlib
import secrets
from typing import Any, Protocol

import numpy as np

from gecko_jax import checks, files
from gecko_jax.encrypted import blobs, limits, packing, saving, seal_bytes
from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.program import Interface
from gecko_jax.encrypted.seal_backend import seal_context
from gecko_jax.encrypted.seal_secrets import SealSecrets


class Answers(Protocol):
    """What a client talks to: `Server`, or `RemoteServer`."""

    def answer(self, blob: bytes) -> bytes: ...  # noqa: D102


class Client:
    """Encrypts inputs, and decrypts what the server computed from them.

    The ciphertexts of CKKS are secure as long as nobody else sees exact decrypted values: their noise tells about the
    key (Li and Micciancio, 2021, IND-CPA-D). Whatever goes back to the server or to strangers should therefore be
    `labels`, or `decrypt(..., decimals=)` with few decimals.

    Args:
      interface: the public part of a program.
      program: the program's digest, 32 hexadecimal digits.

    Raises:
      ImportError: if the package behind the extra "he" is not installed.

    Example:
      >>> import tempfile
      >>> import jax
      >>> from gecko_jax import encrypted, models
      >>> model = models.create("mlp", 2, hidden=(4,), activation="square")
      >>> x = np.random.default_rng(0).normal(size=(8, 3))
      >>> program = encrypted.compile(model, model.init(jax.random.key(0), x), x)
      >>> server, client = encrypted.Server(program), encrypted.Client(program.interface, program.digest)
      >>> client.key_id == server.add_keys(client.evaluation_keys())
      True
      >>> question = client.encrypt(x)
      >>> answer = server.answer(question)
      >>> bool(np.all(client.decrypt(answer, question).argmax(1) == client.labels(answer, question)))
      True
      >>> client.predict(server, x, decimals=2).shape, client.predict_labels(server, x).shape
      ((8, 2), (8,))
      >>> client.save(path := tempfile.mkdtemp() + "/secret_key")
      >>> encrypted.Client.load(path, server.interface()).key_id == client.key_id
      True
      >>> encrypted.Client.from_bytes(server.interface()).key_id == client.key_id
      False
    """

    def __init__(self, interface: Interface, program: str):
        self._setup(interface, program, SealSecrets(interface.parameters), secrets.token_bytes(blobs.ID_BYTES))

    def _setup(self, interface: Interface, program: str, keys: SealSecrets, key_id: bytes) -> None:
        self.interface, self._program, self._secrets, self._key_id = interface, bytes.fromhex(program), keys, key_id

    @classmethod
    def from_bytes(cls, content: bytes) -> Client:
        """Makes a client, with a new secret key, of what a server says about its program.

        Args:
          content: what `Server.interface` returned.

        Raises:
          Refused: if it is not intact, or names parameters that are not secure.
        """
        return cls(*saving.read_interface(content))

    @property
    def key_id(self) -> str:
        """Names the secret key and says nothing about it, in hexadecimal."""
        return self._key_id.hex()

    def evaluation_keys(self) -> bytes:
        """Returns the keys with which the server computes, and cannot decrypt; seeded, half the bytes.

        Only the rotations that the program makes get a key.
        """
        relinearizes, rotations = self.interface.relinearizes, self.interface.rotations
        relinearization = seal_bytes.to_bytes(self._secrets.relin_keys(serializable=True)) if relinearizes else b""
        galois = seal_bytes.to_bytes(self._secrets.galois_keys(rotations, serializable=True)) if rotations else b""
        return blobs.write(self._header("evaluation keys"), [relinearization, galois])

    def encrypt(self, x: Any) -> bytes:
        """Encrypts a batch, clipped to the program's box with a warning (see `outside_box`); seeded, half the bytes.

        Args:
          x: [b, ...], at most `interface.samples` examples; `predict` takes any number.

        Raises:
          ValueError: if x is empty or too long, of another shape, or not finite.
        """
        vectors = packing.pack(x, self.interface)
        packing.warn_of_clipping(x, self.interface)
        parts = [seal_bytes.to_bytes(self._secrets.encrypt(vector, serializable=True)) for vector in vectors]
        request = secrets.token_bytes(blobs.ID_BYTES)
        return blobs.write(self._header("encrypted input")._replace(request=request, samples=len(x)), parts)

    def decrypt(self, answer: bytes, question: bytes | None = None, decimals: int | None = None) -> np.ndarray:
        """Decrypts an answer of the server.

        Args:
          answer: what `Server.answer` returned.
          question: the encrypted input that it must belong to; None: any of this client's.
          decimals: to round to, before a value is shown to anybody else; None: the exact values.

        Returns:
          float64 [b, ...].

        Raises:
          Refused: if it is not intact, of another key, program or question, or decrypts to noise.
        """
        interface = self.interface
        header, parts = blobs.read(answer, "encrypted output", limits.max_bytes("encrypted output", interface))
        blobs.check_belongs(header, self._program, self._key_id)
        if question is not None:
            blobs.check_answers(header, blobs.peek(question))
        if len(parts) != len(interface.output_features) or not 1 <= header.samples <= interface.samples:
            raise Refused(f"encrypted output: {len(parts)} ciphertexts of {header.samples} examples do not fit.")
        try:
            ciphertexts = [seal_bytes.from_bytes("Ciphertext", part, self._secrets.context) for part in parts]
        except ValueError as error:
            raise Refused(f"encrypted output: {error}") from error
        vectors = np.stack([self._secrets.decrypt(each) for each in ciphertexts])
        try:
            outputs = packing.unpack(vectors, header.samples, interface)
        except ValueError as error:
            raise Refused(f"encrypted output: {error}") from error
        return outputs if decimals is None else np.round(outputs, checks.integer("decimals", decimals, 0))

    def labels(self, answer: bytes, question: bytes | None = None) -> np.ndarray:
        """Decrypts an answer and returns the labels alone, which may be shown to anybody.

        Args:
          answer, question: see `decrypt`.

        Returns:
          int64 [b]: the place of the largest output.

        Raises:
          Refused: see `decrypt`.
          ValueError: if an example's outputs are not the logits of two classes or more.
        """
        packing.check_classes(self.interface)
        return _labels(self.decrypt(answer, question))

    def predict(self, server: Answers, x: Any, decimals: int | None = None) -> np.ndarray:
        """Sends any number of examples to a server, as many in each run as fit, and decrypts its answers.

        Args:
          server: a `Server` that has this client's evaluation keys, or a `RemoteServer`.
          x: [b, ...].
          decimals: see `decrypt`.

        Returns:
          float64 [b, ...].

        Raises:
          Refused: by the server, or see `decrypt`.
          ValueError: see `encrypt`.
        """
        outputs = []
        for start in range(0, len(checks.not_empty("x", x)), self.interface.samples):
            question = self.encrypt(x[start : start + self.interface.samples])
            outputs.append(self.decrypt(server.answer(question), question, decimals))
        return np.concatenate(outputs)

    def predict_labels(self, server: Answers, x: Any) -> np.ndarray:
        """Sends any number of examples to a server, and returns labels alone: what an audit by labels reads.

        Args:
          server, x: see `predict`.

        Returns:
          int64 [b].

        Raises:
          Refused: see `predict`.
          ValueError: see `labels`.
        """
        packing.check_classes(self.interface)
        return _labels(self.predict(server, x))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the secret key to a file that its owner alone can read.

        Args:
          path: the file; it must not exist.

        Raises:
          FileExistsError: if it exists: an older key would be lost, and all that was encrypted with it.
        """
        if pathlib.Path(path).exists():
            raise FileExistsError(f"{path} exists and may hold another key; name a new file.")
        content = blobs.write(self._header("secret key"), [seal_bytes.to_bytes(self._secrets.secret_key)])
        files.write_secret(path, content)
        if pathlib.Path(path).read_bytes() != content:
            raise FileExistsError(f"{path} was written by another process at the same time; name a new file.")

    @classmethod
    def load(cls, path: str | os.PathLike[str], interface: bytes) -> Client:
        """Reads a client that `save` wrote.

        Args:
          path: the file.
          interface: what `Server.interface` returned.

        Raises:
          Refused: if the file is not intact, or its key is of another program.
        """
        public, program = saving.read_interface(interface)
        content = pathlib.Path(path).read_bytes()
        header, parts = blobs.read(content, "secret key", limits.max_bytes("secret key", public))
        blobs.check_belongs(header, bytes.fromhex(program))
        if len(parts) != 1:
            raise Refused(f"secret key: {len(parts)} parts; expected 1.")
        context = seal_context(public.parameters)
        client = cls.__new__(cls)
        key = seal_bytes.from_bytes("SecretKey", parts[0], context)
        client._setup(public, program, SealSecrets(public.parameters, key, context), header.key)
        return client

    def __reduce__(self) -> Any:
        raise TypeError(
            "A client holds a secret key and is not pickled; use save(path), which its owner alone can read."
        )

    def _header(self, kind: str) -> blobs.Header:
        return blobs.Header(kind, self._program, self._key_id)


def _labels(outputs: np.ndarray) -> np.ndarray:
    return np.argmax(outputs, axis=1)
