"""Checkpoints of a run in a folder of its own: whole or absent, and never of another run.

Orbax writes to a temporary folder and renames it, so that a half-written checkpoint is never read. Beside it stands
run.json, what the run was asked to do; a folder that holds another run is refused, not continued.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax.types import Array


def digest(*arrays: Array | None) -> str:
    """A short checksum of arrays' shapes, types and bytes, to tell one run's data from another's."""
    value = 0
    for array in arrays:
        if array is None:
            value = zlib.crc32(b"none", value)
            continue
        array = np.ascontiguousarray(array)
        value = zlib.crc32(f"{array.shape}{array.dtype}".encode(), value)
        value = zlib.crc32(array.view(np.uint8).reshape(-1) if array.size else b"", value)
    return f"{value:08x}"


class Checkpoints:
    """The checkpoints of one run.

    Args:
      folder: where; made if absent.
      run: what identifies the run, in JSON's types.

    Raises:
      ValueError: if the folder holds a run with another identity; the message names what differs.
    """

    def __init__(self, folder: str | os.PathLike[str], run: dict[str, Any]):
        import orbax.checkpoint as ocp  # takes seconds to import

        self.folder = Path(folder).absolute()
        self._orbax = ocp
        with _clear_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim(json.loads(json.dumps(run)))
            options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
            self._manager = ocp.CheckpointManager(self.folder / "checkpoints", options=options)

    def _claim(self, run: dict[str, Any]) -> None:
        path = self.folder / "run.json"
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(run, indent=1, sort_keys=True))
            os.replace(temporary, path)
            return
        found = json.loads(path.read_text())
        differing = sorted(name for name in {*found, *run} if found.get(name) != run.get(name))
        if differing:
            listed = "; ".join(f"{name} was {found.get(name)!r}, is {run.get(name)!r}" for name in differing)
            raise ValueError(f"folder={str(self.folder)!r} holds another run ({listed}): name a new one or delete it.")

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """(epochs done, tree) of the last whole checkpoint, as host arrays; None if there is none.

        Args:
          like: a tree of the same structure, shapes and types.
        """
        done = self._manager.latest_step()
        if done is None:
            return None
        target = jax.tree.map(lambda leaf: np.empty(np.shape(leaf), np.asarray(leaf).dtype), like)
        return done, self._manager.restore(done, args=self._orbax.args.StandardRestore(target))

    def save(self, done: int, tree: Any) -> None:
        """Writes the tree as the state after `done` epochs and removes the one before.

        Raises:
          OSError: if it cannot be written (a full disk); the checkpoint before is kept.
        """
        with _clear_errors(self.folder):
            self._manager.save(done, args=self._orbax.args.StandardSave(jax.tree.map(np.asarray, tree)))
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Lets go of the folder."""
        self._manager.close()


class _clear_errors:
    """Says which folder could not be written, and that nothing earlier was lost."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f"could not write a checkpoint in {str(self.folder)!r} ({error.strerror or error}). The last whole one "
                "is untouched: make room or give another folder, and start again to go on from it",
            ) from error
