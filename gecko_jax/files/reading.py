"""Reads files that must be complete: those that a commit marker names, and archives of arrays."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from gecko_jax.digests import sha256


def read_checked(path: str | os.PathLike[str], expected: str | None) -> bytes:
    """Reads a file and compares its digest with the one that a marker names.

    Args:
      path: the file.
      expected: its SHA-256 in hexadecimal; None: it is not compared.

    Returns:
      The file's bytes.

    Raises:
      FileNotFoundError: if the file is absent.
      ValueError: if its SHA-256 is another.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("figures")
    >>> read_checked(path, sha256("figures"))
    b'figures'
    >>> read_checked(path, sha256("other figures"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...a.txt is not the file that was written with the others: its SHA-256 is ...
    """
    content = pathlib.Path(path).read_bytes()
    if expected is not None and (actual := sha256(content)) != expected:
        raise ValueError(
            f"{path} is not the file that was written with the others: its SHA-256 is {actual[:16]}..., "
            f"recorded is {str(expected)[:16]}...; it is damaged, or of another run"
        )
    return content


def check_present(folder: str | os.PathLike[str], digests: Any) -> None:
    """Compares the files of a folder with the digests that a marker names; an absent file is not an error.

    Args:
      folder: of the files.
      digests: {file name: SHA-256 in hexadecimal}.

    Raises:
      ValueError: if a file has another digest, or if `digests` is anything else.

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("figures")
    >>> check_present(folder, {"a.txt": sha256("figures"), "absent.txt": sha256("")})
    """
    if not isinstance(digests, Mapping) or not all(isinstance(value, str) for value in digests.values()):
        raise ValueError(f"files={digests!r} must name the SHA-256 of each file: {{name: 64 hexadecimal digits}}.")
    for name, expected in digests.items():
        if (path := pathlib.Path(folder) / name).is_file():
            read_checked(path, expected)


def read_arrays(
    path: str | os.PathLike[str], names: Collection[str] | Callable[[str], bool] | None = None
) -> dict[str, np.ndarray]:
    """Reads arrays from an .npz file; objects are refused, because unpickling a stranger's file would run its code.

    Args:
      path: the file.
      names: of the arrays to read, as far as they are present, or a function that says which; None: all.

    Returns:
      {name: array}.

    Raises:
      OSError: if the file cannot be opened.
      ValueError: if it is not a complete .npz of plain arrays, whatever error its parsers raise.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.npz"
    >>> np.savez(path, x=np.arange(3), y=np.zeros(3))
    >>> read_arrays(path, names=["x", "z"])
    {'x': array([0, 1, 2])}
    """
    with open(path, "rb") as raw:
        begin = raw.read(6)
        raw.seek(0)
        if not begin.startswith(b"PK"):
            kind = "a single .npy array" if begin == b"\x93NUMPY" else f"not a zip archive; it begins with {begin!r}"
            raise ValueError(f"{path}: {kind}")
        try:
            with np.load(raw, allow_pickle=False) as archive:
                chosen = names if callable(names) else lambda name: names is None or name in names
                wanted = [name for name in archive.files if chosen(name)]
                return {name: archive[name] for name in wanted}
        except Exception as error:  # zip, its compressions and NumPy's headers raise a dozen kinds on damaged bytes
            raise ValueError(f"{path}: {str(error) or type(error).__name__}") from error
