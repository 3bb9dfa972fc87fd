"""Checkpoints of a run in a folder of its own: complete or absent, and never of another run.

Orbax writes to a temporary folder and renames it. A half-written checkpoint is therefore never read. Orbax does not
notice a flipped bit, because of which a checksum of the state is stored with it and compared. The file run.json beside
it says what the run was asked to do. A folder that holds another run is refused, not continued. Of several processes
the first alone opens it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import hosts, json_values
from gecko_jax.digests import array_digest
from gecko_jax.files import write_atomic

RECORD = "run.json"
MAX_VALUE_CHARACTERS = 100  # of a value of another run, in the message that names it


def stored_record(folder: str | os.PathLike[str] | None) -> dict[str, Any] | None:
    """Returns what identifies the run that a folder holds; None if it holds none, or one that cannot be read."""
    try:
        return None if folder is None else dict(json.loads((Path(folder) / RECORD).read_text()))
    except (OSError, ValueError, TypeError):  # `Checkpoints` says what is wrong
        return None


class Checkpoints:
    """The checkpoints of one run.

    Args:
      folder: where they are kept; created if absent.
      run: what identifies the run, in JSON's types.

    Raises:
      ValueError: if the folder holds a run with another identity (the message names what differs), or one whose
        identity is lost.
      OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], run: dict[str, Any]):
        import orbax.checkpoint as ocp  # takes seconds to import

        self.folder = Path(folder).absolute()
        self._orbax = ocp
        self._steps = self.folder / "checkpoints"
        with self.clear_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim(json_values.plain(run))
            self._remove_half_written()
        several: dict[str, Any] = {}
        if hosts.count() > 1:  # Orbax would wait for the other processes, which have no part in this
            self._steps.mkdir(exist_ok=True)
            alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
            several = dict(multiprocessing_options=alone, create=False)
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False, **several)
        self._manager = ocp.CheckpointManager(self._steps, options=options)

    def _claim(self, run: dict[str, Any]) -> None:
        path = self.folder / RECORD
        if not path.exists():
            if self._steps.exists():
                raise ValueError(
                    f"folder={str(self.folder)!r} holds checkpoints without the run.json that says of which run: "
                    "name a new folder or delete this one."
                )
            write_atomic(path, json_values.dumps(run, indent=1, sort_keys=True))
            return
        try:
            stored = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is damaged ({error}): delete its folder or name a new one.") from error
        differing = sorted(name for name in {*stored, *run} if stored.get(name) != run.get(name))
        if differing:
            pairs = [(name, _short(stored.get(name)), _short(run.get(name))) for name in differing]
            listed = "; ".join(f"{name} was {before}, is {now}" for name, before, now in pairs)
            raise ValueError(f"folder={str(self.folder)!r} holds another run ({listed}): name a new one or delete it.")

    def _remove_half_written(self) -> None:
        """Removes what a killed run or a full disk left."""
        for path in self._steps.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(path)

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """Returns (epochs done, tree) of the last complete checkpoint, as host arrays; None if there is none.

        Args:
          like: a tree of the same structure, shapes and types, or of shapes alone.

        Raises:
          ValueError: if the checkpoint is damaged.
        """
        done = self._manager.latest_step()
        if done is None:
            return None
        expected = {"tree": like, "sum": np.uint32(0)}
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), expected)
        try:
            stored = self._manager.restore(done, args=self._orbax.args.StandardRestore(target))
            if _sum(stored["tree"]) != int(stored["sum"]):
                raise ValueError("its checksum differs")
        except Exception as error:  # Orbax raises whatever its parsers raise
            raise ValueError(
                f"the checkpoint {str(self._steps / str(done))!r} is damaged ({_first_line(error)}): delete "
                f"{str(self.folder)!r} to train again from the start."
            ) from error
        return done, stored["tree"]

    def save(self, done: int, tree: Any) -> None:
        """Writes the tree as the state after `done` epochs and removes the checkpoint before it.

        Raises:
          OSError: if it cannot be written (a full disk); the checkpoint before it is kept.
        """
        try:
            self._manager.save(done, args=self._orbax.args.StandardSave(_with_sum(jax.tree.map(np.asarray, tree))))
            self._manager.wait_until_finished()
        except Exception as error:  # a full disk is an OSError here and a ValueError of the array store there
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Closes the folder."""
        self._manager.close()

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Turns an OSError of whatever else is written in the folder into one that says where, and what to do."""
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> OSError:
        """Returns an error that names the folder, and says that no earlier checkpoint was lost."""
        code = re.search(r"os_error_code='(\d+)'", str(error))
        number = getattr(error, "errno", None) or (int(code[1]) if code else errno.EIO)
        reason = os.strerror(number) if code or isinstance(error, OSError) else _first_line(error)
        return OSError(
            number,
            f"could not write in {str(self.folder)!r} ({reason}). The last whole checkpoint is untouched: make room or "
            "give another folder, and start again to go on from it",
        )


def _sum(tree: Any) -> int:
    return int(array_digest(*jax.tree.leaves(tree))[:8], 16)


def _with_sum(tree: Any) -> dict[str, Any]:
    return {"tree": tree, "sum": np.array(_sum(tree), np.uint32)}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}..."


def _first_line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return text if len(text) <= 200 else f"{text[:200]}..."
