"""SEAL's objects as bytes, although its Python binding reads and writes files only.

On Linux the file is anonymous memory, so that a secret key never reaches a disk; elsewhere it lies in a temporary
folder that its owner alone may enter. SEAL ignores bytes behind an object and reads relinearization keys as Galois
keys without complaint: `from_bytes` compares the length, and `blobs` names the kind of what is sent.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import struct
import tempfile
from collections.abc import Iterator
from typing import Any

from gecko_jax import extras

# magic, size of the header, two parts of SEAL's version, compression, reserved, bytes of header and content together
SEAL_HEADER = struct.Struct("<HBBBBHQ")


def sealapi() -> Any:
    """Returns SEAL's Python binding, `tenseal.sealapi`.

    Raises:
      ImportError: naming the command that installs it.
    """
    extras.require("tenseal", "encrypted inference")
    import tenseal.sealapi as api

    return api


def to_bytes(item: Any) -> bytes:
    """Returns a SEAL object as bytes.

    Args:
      item: anything with SEAL's `save(path)`: a ciphertext, keys, parameters, or the seeded form of these, which SEAL
        calls Serializable and which takes half the bytes.

    Raises:
      ImportError: if SEAL's binding is not installed.

    >>> api = sealapi()
    >>> parameters = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
    >>> parameters.set_poly_modulus_degree(1024)
    >>> parameters.set_coeff_modulus(api.CoeffModulus.Create(1024, [27]))
    >>> context = api.SEALContext(parameters, True, api.SEC_LEVEL_TYPE.TC128)
    >>> key = api.KeyGenerator(context).secret_key()
    >>> from_bytes("SecretKey", to_bytes(key), context).parms_id() == key.parms_id()
    True
    """
    with _path() as path:
        item.save(path)
        return pathlib.Path(path).read_bytes()


def from_bytes(kind: str, content: bytes, context: Any) -> Any:
    """Reads a SEAL object and lets SEAL check it against the context: parameters, sizes, range of every coefficient.

    Args:
      kind: name of its class: "Ciphertext", "GaloisKeys", "RelinKeys" or "SecretKey"
      content: what `to_bytes` returned, no byte more or less.
      context: the SEALContext that the object must belong to.

    Returns:
      The object.

    Raises:
      ImportError: if SEAL's binding is not installed.
      ValueError: if the bytes are cut, followed by others, damaged where SEAL sees it, or of other parameters.
    """
    item = getattr(sealapi(), kind)()
    declared = SEAL_HEADER.unpack_from(content)[-1] if len(content) >= SEAL_HEADER.size else SEAL_HEADER.size
    if declared != len(content):
        raise ValueError(f"{kind}: {len(content)} bytes, but its header declares {declared}; it is cut or padded.")
    with _path(content) as path:
        try:
            item.load(context, path)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"SEAL reads no {kind} from these {len(content)} bytes: {error}.") from error
    return item


@contextlib.contextmanager
def _path(content: bytes = b"") -> Iterator[str]:
    """The path of a short-lived file with this content, in memory if the system can do that."""
    if (descriptor := _anonymous()) is None:
        with tempfile.TemporaryDirectory(prefix="gecko_jax_") as folder:
            file = pathlib.Path(folder) / "seal"
            file.write_bytes(content)
            yield str(file)
        return
    try:
        path = f"/proc/self/fd/{descriptor}"
        pathlib.Path(path).write_bytes(content)
        yield path
    finally:
        os.close(descriptor)


def _anonymous() -> int | None:
    """A file descriptor of anonymous memory; None if the system has none, or no path for it."""
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("gecko_jax")
    if os.path.exists(f"/proc/self/fd/{descriptor}"):
        return descriptor
    os.close(descriptor)
    return None
