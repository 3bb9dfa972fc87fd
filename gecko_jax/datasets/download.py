"""One file from the network: to a temporary name, checked, and only then renamed, so that no run meets half a file."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import tempfile
import urllib.request
from pathlib import Path

from gecko_jax.files import share

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without an answer


def download(url: str, path: Path, sha256: str) -> Path:
    """Fetches `url` into `path`.

    Args:
      url: address of the file.
      path: where it goes; its folder is made.
      sha256: the file's SHA-256, in hexadecimal. (MD5 would not do: two files of one MD5 can be made.)

    Returns:
      `path`.

    Raises:
      OSError: if the address does not answer or the folder cannot be written.
      ValueError: if the SHA-256 is another; nothing is left behind.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256={sha256!r} must be the 64 hexadecimal digits of a SHA-256.")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            while block := answer.read(_BLOCK):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != sha256:
            raise ValueError(
                f"{url}: SHA-256 is {digest.hexdigest()}, expected {sha256}; the file was not kept. Try again, or "
                "get it elsewhere and pass its folder as data_dir."
            )
        share(temporary)  # a temporary file is private, a data set is not
        os.replace(temporary, path)
    except http.client.HTTPException as error:  # a broken answer is no OSError
        raise OSError(f"{url}: {error!r}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
