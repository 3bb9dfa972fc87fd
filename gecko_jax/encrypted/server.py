"""The side that computes: it holds a program and clients' evaluation keys, and nothing that decrypts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from gecko_jax import checks
from gecko_jax.encrypted import blobs, limits, saving, seal_bytes
from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.executor import Executor
from gecko_jax.encrypted.program import Program
from gecko_jax.encrypted.seal_backend import SealBackend, galois_element, seal_context


class Server:
    """Evaluates a program on encrypted inputs, for several clients.

    It takes bytes and returns bytes. What it refuses raises `Refused` and changes nothing, so that it goes on serving.
    It has no place for a secret key, and refuses one that is sent.

    Args:
      program: what `encrypted.compile` returned, or `encrypted.load` read.
      max_clients: how many clients' evaluation keys are kept, hundreds of megabytes each; if more are sent, those that
        were used longest ago are dropped.

    Raises:
      ImportError: if the package behind the extra "he" is not installed.

    Example:
      >>> import jax
      >>> import numpy as np
      >>> from gecko_jax import encrypted, models
      >>> model = models.create("mlp", 2, hidden=(4,), activation="square")
      >>> x = np.random.default_rng(0).normal(size=(8, 3))
      >>> server = encrypted.Server(encrypted.compile(model, model.init(jax.random.key(0), x), x))
      >>> client = encrypted.Client.from_bytes(server.interface())
      >>> server.add_keys(client.evaluation_keys()) == client.key_id
      True
      >>> len(server.answer(client.encrypt(x))) < server.max_bytes("encrypted input")
      True
    """

    __slots__ = ("_backends", "_context", "_executor", "_hash", "_lock", "_max_clients", "_program")

    def __init__(self, program: Program, max_clients: int = 4):
        if not isinstance(program, Program):
            raise ValueError(
                f"program is a {type(program).__name__}; expected what encrypted.compile or encrypted.load returned."
            )
        self._program, self._hash = program, bytes.fromhex(program.digest)
        self._context = seal_context(program.interface.parameters)
        self._max_clients = checks.integer("max_clients", max_clients, 1)
        self._backends: OrderedDict[bytes, SealBackend] = OrderedDict()
        # One for all clients, whose backends take turns: the encoded weights are the same for every key.
        self._executor = Executor(program, SealBackend(program.interface.parameters, None, None, self._context))
        self._lock = threading.Lock()

    def interface(self) -> bytes:
        """Returns the public part of the program, which `Client.from_bytes` reads."""
        return saving.interface_bytes(self._program)

    def max_bytes(self, kind: str) -> int:
        """Returns the most bytes that a blob may have.

        Args:
          kind: "evaluation keys" or "encrypted input".
        """
        return limits.max_bytes(kind, self._program.interface)

    def add_keys(self, blob: bytes) -> str:
        """Keeps a client's evaluation keys.

        Args:
          blob: what `Client.evaluation_keys` returned.

        Returns:
          The id of the client's key, in hexadecimal.

        Raises:
          Refused: if it is not intact, of another program, or lacks a key that the program needs.
        """
        header, parts = self._read(blob, "evaluation keys")
        relinearization, galois = self._keys(parts)
        backend = SealBackend(self._program.interface.parameters, relinearization, galois, self._context)
        with self._lock:
            self._backends[header.key] = backend
            self._backends.move_to_end(header.key)
            while len(self._backends) > self._max_clients:
                self._backends.popitem(last=False)
        return header.key.hex()

    def answer(self, blob: bytes, progress: Callable[[int, int], None] | None = None) -> bytes:
        """Computes the program on an encrypted input.

        Args:
          blob: what `Client.encrypt` returned.
          progress: called with (steps done, all steps) after each step.

        Returns:
          The encrypted output, for `Client.decrypt`.

        Raises:
          Refused: if it is not intact, not fresh, of another program, or of a client without evaluation keys here.
        """
        header, parts = self._read(blob, "encrypted input")
        interface = self._program.interface
        if not 1 <= header.samples <= interface.samples:
            raise Refused(
                f"encrypted input: {header.samples} examples; this program takes 1 to {interface.samples} in one run."
            )
        if len(parts) != (expected := len(interface.input_features)):
            raise Refused(f"encrypted input: {len(parts)} ciphertexts; this program reads {expected}.")
        inputs = [self._ciphertext(part) for part in parts]
        with self._lock:  # one computation at a time: each uses what the machine has
            if (backend := self._backends.get(header.key)) is None:
                raise Refused(
                    f"encrypted input: no evaluation keys of client {header.key.hex()[:16]}... are here; send the "
                    "client's evaluation keys first, or again."
                )
            self._backends.move_to_end(header.key)
            self._executor.backend = backend
            outputs = self._executor(inputs, progress)
        return blobs.write(header._replace(kind="encrypted output"), [seal_bytes.to_bytes(each) for each in outputs])

    def _read(self, blob: bytes, kind: str) -> tuple[blobs.Header, list[bytes]]:
        header, parts = blobs.read(blob, kind, self.max_bytes(kind))
        blobs.check_belongs(header, self._hash)
        return header, parts

    def _ciphertext(self, content: bytes) -> Any:
        """A ciphertext as `Client.encrypt` makes them: fresh, of the program's scale, of two polynomials."""
        ciphertext = _loaded("Ciphertext", content, self._context)
        scale = self._program.interface.parameters.scale
        fresh = ciphertext.parms_id() == self._context.first_parms_id() and ciphertext.is_ntt_form()
        if not fresh or ciphertext.size() != 2 or ciphertext.scale != scale or ciphertext.is_transparent():
            raise Refused(
                f"encrypted input: a ciphertext of {ciphertext.size()} polynomials, scale {ciphertext.scale:g}; "
                f"expected one that is fresh, of 2 polynomials, scale {scale:g}, as Client.encrypt makes them."
            )
        return ciphertext

    def _keys(self, parts: Sequence[bytes]) -> tuple[Any, Any]:
        """Relinearization and Galois keys, with all that the program needs; an empty part is none."""
        interface = self._program.interface
        needed = [interface.relinearizes, bool(interface.rotations)]
        if [bool(part) for part in parts] != needed:
            raise Refused(
                f"evaluation keys: {len(parts)} parts of {[*map(len, parts)]} bytes; expected relinearization keys "
                f"({'needed' if needed[0] else 'empty'}) and Galois keys ({'needed' if needed[1] else 'empty'})."
            )
        first, second = parts
        relinearization = _loaded("RelinKeys", first, self._context) if first else None
        galois = _loaded("GaloisKeys", second, self._context) if second else None
        if relinearization is not None and not relinearization.has_key(2):
            raise Refused("evaluation keys: the key that relinearizes a product is not among them.")
        degree = interface.parameters.degree
        lacking = [step for step in interface.rotations
                   if galois is None or not galois.has_key(galois_element(step, degree))]  # fmt: skip
        if lacking:
            raise Refused(f"evaluation keys: the Galois keys for rotations by {checks.listed(lacking)} are missing.")
        return relinearization, galois


def _loaded(kind: str, content: bytes, context: Any) -> Any:
    try:
        return seal_bytes.from_bytes(kind, content, context)
    except ValueError as error:
        raise Refused(str(error)) from error
