"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import pathlib
import tempfile


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> pathlib.Path:
    """Writes a file whole: to a temporary file beside it, synced to the disk, then renamed over the old one.

    A reader sees the old content or the new, never half; after any error the old file is as it was and the temporary
    one is gone.

    Args:
      path: where; its folder is made if need be.
      content: bytes, or a str that is written as UTF-8 with its line ends as they are.

    Returns:
      The path.

    Raises:
      OSError: naming the file, the number of bytes and the cause (a full disk, a folder that may not be written).
    """
    path = pathlib.Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600; a report is for others to read
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            pathlib.Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            message = f"could not write {len(data)} bytes ({error.strerror}); any old file is unchanged"
            raise OSError(error.errno, message, str(path)) from error
        raise
    _sync_folder(path.parent)
    return path


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes the rename itself survive a power cut, where the system can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it; the file itself is synced
    finally:
        os.close(descriptor)
