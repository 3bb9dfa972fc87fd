"""Programs and their public interfaces as bytes and folders; a program is saved only if it is verified.

program.bin     the whole program, with the weights: the server's
interface.bin   its public part, without weights: what clients are given
program.json    written last: digests of both, and what the verification found
"""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

from gecko_jax import __version__, files, json_values
from gecko_jax.encrypted import blobs, limits, records
from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.circuit import Affine, Circuit, Product
from gecko_jax.encrypted.parameters import MAX_LOG_QP, Parameters
from gecko_jax.encrypted.program import Interface, Multiply, Program, Range, Sum
from gecko_jax.encrypted.verification import Verification, verify
from gecko_jax.types import Array

PROGRAM, INTERFACE, MARKER = "program.bin", "interface.bin", "program.json"
PUBLIC_TYPES = {each.__name__: each for each in (Interface, Parameters)}
TYPES = PUBLIC_TYPES | {each.__name__: each for each in (Affine, Circuit, Multiply, Product, Program, Range, Sum)}


def interface_bytes(program: Program) -> bytes:
    """Returns the public part of a program, for clients; it holds no weights.

    Args:
      program: of which.
    """
    return blobs.write(_header(program, "program interface"), records.encode(program.interface))


def read_interface(content: bytes) -> tuple[Interface, str]:
    """Reads what `interface_bytes` returned.

    Args:
      content: the bytes.

    Returns:
      The public part, and the program's digest.

    Raises:
      Refused: if it is not intact, or its parts do not fit each other.
    """
    header, parts = blobs.read(content, "program interface", limits.MAX_INTERFACE_BYTES)
    interface = records.decode(parts, PUBLIC_TYPES)
    try:
        _check(interface)
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused(f"program interface: its parts do not fit each other: {error}.") from error
    return interface, header.program.hex()


def save(program: Program, folder: str | os.PathLike[str], x: Array) -> Verification:
    """Verifies a program on real ciphertexts and writes it; one that disagrees with its network is not written.

    Args:
      program: what `encrypted.compile` returned.
      folder: where it goes; created if absent.
      x: inputs [b, ...] to verify it on, such as 64 test examples; see `verify`.

    Returns:
      What the verification found.

    Raises:
      ImportError: if the package behind the extra "he" is not installed.
      NotVerified: if an output differs; nothing is written.

    Example:
      >>> import tempfile
      >>> import jax
      >>> import numpy as np
      >>> from gecko_jax import encrypted, models
      >>> model = models.create("mlp", 2, hidden=(4,), activation="square")
      >>> x = np.random.default_rng(0).normal(size=(8, 3))
      >>> program = encrypted.compile(model, model.init(jax.random.key(0), x), x)
      >>> encrypted.save(program, folder := tempfile.mkdtemp(), x).same_label
      1.0
      >>> encrypted.load(folder).digest == program.digest
      True
    """
    verification = verify(program, x)
    contents = {
        PROGRAM: blobs.write(_header(program, "program"), records.encode(program)),
        INTERFACE: interface_bytes(program),
    }

    def describe(digests: dict[str, str]) -> str:
        about = {"version": __version__, "program": program.digest, "verification": verification, "files": digests}
        return json_values.dumps(about, indent=1)

    files.write_together(folder, contents, MARKER, describe)
    return verification


def load(folder: str | os.PathLike[str]) -> Program:
    """Reads a program that `save` wrote.

    Args:
      folder: where it is.

    Returns:
      The program.

    Raises:
      FileNotFoundError: if the folder holds no complete program.
      ValueError: if a file is damaged or of another program.

    >>> load("no/such/folder")
    Traceback (most recent call last):
      ...
    FileNotFoundError: [Errno 2] No such file or directory: 'no/such/folder/program.json'
    """
    folder = pathlib.Path(folder)
    try:
        expected = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"][PROGRAM]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{folder / MARKER} is not what save wrote ({type(error).__name__}). Save it again.") from error
    content = files.read_checked(folder / PROGRAM, expected)
    header, parts = blobs.read(content, "program", len(content))
    program = records.decode(parts, TYPES)
    if not isinstance(program, Program) or program.digest != header.program.hex():
        raise Refused(f"{folder / PROGRAM}: its content is not the program that it names. Compile and save it again.")
    return program


def _header(program: Program, kind: str) -> blobs.Header:
    return blobs.Header(kind, bytes.fromhex(program.digest), blobs.NO_ID)


def _check(interface: Interface) -> None:
    """Refuses what a server that errs, or lies, could say; SEAL refuses primes that are too large for the security."""
    parameters = interface.parameters
    if parameters.security not in MAX_LOG_QP or parameters.degree not in MAX_LOG_QP[parameters.security]:
        raise ValueError(f"security {parameters.security} bits at N={parameters.degree} is not offered")
    features = 1
    for size in interface.input_shape:
        features *= size
    slots = parameters.slots
    for table in (interface.input_features, interface.output_features):
        if table.ndim != 2 or table.shape[1] * interface.samples != slots or not len(table) or table.min() < -1:
            raise ValueError(f"a table of shape {table.shape} for {interface.samples} samples in {slots} slots")
    if interface.input_features.max() >= features or not (
        interface.box_low.shape == interface.box_high.shape == (features,)
    ):
        raise ValueError(f"{features} features, but tables of more, or a box of {interface.box_low.shape}")
    box = np.stack([interface.box_low, interface.box_high])
    if not np.all(np.isfinite(box)) or np.any(box[0] > box[1]):
        raise ValueError("a box whose low is above its high, or that is not finite")
    if not 0 < interface.input_gain < float("inf") or not 0 < interface.output_gain < float("inf"):
        raise ValueError(f"gains {interface.input_gain} and {interface.output_gain} must be positive")
    if not 0 < interface.output_bound < float("inf"):
        raise ValueError(
            f"a bound of {interface.output_bound} on outputs, without which noise would pass for an answer"
        )
    if not all(0 < step < slots for step in interface.rotations):
        raise ValueError(f"rotations must lie between 0 and {slots}")
