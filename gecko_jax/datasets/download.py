"""One file from the network: to a temporary name, checked, and only then renamed, so that no run meets half a file."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from pathlib import Path

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without an answer


def download(url: str, path: Path, md5: str) -> Path:
    """Fetches `url` into `path`.

    Args:
      url: address of the file.
      path: where it goes; its folder is made.
      md5: the published checksum, in hexadecimal.

    Returns:
      `path`.

    Raises:
      OSError: if the address does not answer or the folder cannot be written.
      ValueError: if the checksum differs; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            while block := answer.read(_BLOCK):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != md5:
            raise ValueError(f"{url}: MD5 is {digest.hexdigest()}, published is {md5}; the file was not kept.")
        os.chmod(temporary, 0o644)  # a temporary file is private, a data set is not
        os.replace(temporary, path)
    except http.client.HTTPException as error:  # a broken answer is no OSError
        raise OSError(f"{url}: {error!r}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
