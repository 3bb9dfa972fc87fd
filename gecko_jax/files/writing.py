"""Writes files that are complete or absent, by a synced temporary file that is renamed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping

from gecko_jax.digests import sha256


def write_atomic(path: str | os.PathLike[str], content: bytes | str | Iterable[bytes]) -> pathlib.Path:
    """Writes a file atomically: to a temporary file beside it, synced to the disk, then renamed over the old one.

    A reader sees the old content or the new one, never a part. After an error the old file is unchanged and the
    temporary one is removed. The file gets the permissions that the umask leaves, like any other file.

    Args:
      path: the file; its folder is created if absent.
      content: bytes, a str that is written as UTF-8 with its line ends as they are, or blocks of bytes one after
        another (a download); an error of their generator leaves the old file unchanged, too.

    Returns:
      The path.

    Raises:
      OSError: naming the file, the number of bytes (unless there were blocks) and the cause: a full disk, a folder
        without permission to write.

    >>> path = write_atomic(pathlib.Path(tempfile.mkdtemp()) / "a.txt", "figures")
    >>> path.read_text()
    'figures'
    """
    path = pathlib.Path(path)
    temporary = _stage(path, content)
    try:
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        raise _named(path, content, error) from error
    _sync_folder(path.parent)
    return path


def write_secret(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file that only its owner may read (mode 600), unless it exists.

    If two processes write at once, the file holds what the first one wrote, and the other content is dropped.

    Args:
      path: the file; its folder is created if absent.
      content: see `write_atomic`.

    Raises:
      OSError: see `write_atomic`.

    >>> path = pathlib.Path(tempfile.mkdtemp()) / "seed"
    >>> write_secret(path, "first")
    >>> write_secret(path, "second")
    >>> path.read_text(), oct(path.stat().st_mode)[-3:]
    ('first', '600')
    """
    path = pathlib.Path(path)
    temporary = _stage(path, content, private=True)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def write_together(
    folder: str | os.PathLike[str],
    contents: Mapping[str, bytes | str],
    marker: str,
    describe: Callable[[dict[str, str]], bytes | str],
) -> pathlib.Path:
    """Writes the files of one artifact, and last its commit marker, which names the digests of the others.

    All of them are first written under temporary names, because a full disk must leave the old ones unchanged. Then the
    old marker is removed, the files are renamed, and the new marker is renamed last. Whenever the process dies, the
    folder holds the old files with the old marker, the new ones with the new marker, or no marker.

    Args:
      folder: where the files go; created if absent.
      contents: file name -> its content.
      marker: the marker's file name.
      describe: {file name: SHA-256 in hexadecimal} -> the marker's content, which must contain these digests.

    Returns:
      The marker's path.

    Raises:
      OSError: see `write_atomic`.

    Example:
      >>> import json
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> path = write_together(folder, {"a.txt": "figures"}, "all.json", json.dumps)
      >>> json.loads(path.read_text()) == {"a.txt": sha256("figures")}
      True
    """
    folder = pathlib.Path(folder)
    everything = {**contents, marker: describe({name: sha256(content) for name, content in contents.items()})}
    staged: dict[str, pathlib.Path] = {}
    try:
        for name, content in everything.items():
            staged[name] = _stage(folder / name, content)
        (folder / marker).unlink(missing_ok=True)
        _sync_folder(folder)
        for name in contents:
            os.replace(staged[name], folder / name)
        _sync_folder(folder)
        os.replace(staged[marker], folder / marker)
        _sync_folder(folder)
    except BaseException:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        raise
    return folder / marker


def _blocks(content: bytes | str | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, str):
        return [content.encode()]
    return [content] if isinstance(content, bytes) else content


def _stage(path: pathlib.Path, content: bytes | str | Iterable[bytes], private: bool = False) -> pathlib.Path:
    """Writes a synced temporary file beside `path`, with the permissions of any other file unless it is private."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with open(descriptor, "wb") as file:
            for block in _blocks(content):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if not private:  # mkstemp gives mode 600
            os.chmod(temporary, 0o666 & ~_umask())
    except BaseException as error:
        if temporary is not None:
            pathlib.Path(temporary).unlink(missing_ok=True)
        raise _named(path, content, error) from error
    return pathlib.Path(temporary)


def _named(path: pathlib.Path, content: bytes | str | Iterable[bytes], error: BaseException) -> BaseException:
    """An OSError that names the file and what was to be written; any other error, and one of blocks, as it is."""
    if not isinstance(error, OSError) or not isinstance(content, (bytes, str)):
        return error
    size = sum(map(len, _blocks(content)))
    message = f"could not write {size} bytes ({error.strerror or error}); any old file is unchanged"
    return OSError(error.errno, message, str(path))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes the rename survive a power cut, if the system can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it; the file itself is synced
    finally:
        os.close(descriptor)
