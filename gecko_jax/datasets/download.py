"""Downloads one file under a temporary name and renames it once it is checked, so no run reads half a file."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from gecko_jax.digests import running_sha256
from gecko_jax.files import write_atomic

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30.0  # without an answer


def download(url: str, path: Path, sha256: str) -> Path:
    """Downloads `url` to `path`.

    Args:
      url: address of the file.
      path: the file to write; its folder is created if absent.
      sha256: the file's SHA-256, in hexadecimal. (MD5 is not enough, because two files with one MD5 can be built.)

    Returns:
      `path`.

    Raises:
      OSError: the address does not answer, or the folder cannot be written.
      ValueError: the SHA-256 differs; no file is left behind.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256={sha256!r} must be the 64 hexadecimal digits of a SHA-256.")
    try:
        return write_atomic(path, _checked_blocks(url, sha256))
    except http.client.HTTPException as error:  # a broken answer is not an OSError
        raise OSError(f"{url}: {error!r}") from error


def _checked_blocks(url: str, sha256: str) -> Iterator[bytes]:
    """Yields the file's bytes, and raises ValueError after the last of them if their SHA-256 differs."""
    running = running_sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        while block := answer.read(_BLOCK_BYTES):
            running.update(block)
            yield block
    if running.hexdigest() != sha256:
        raise ValueError(
            f"{url}: SHA-256 is {running.hexdigest()}, expected {sha256}; the file was not kept. Try again, or get it "
            "elsewhere and pass its folder as data_dir."
        )
