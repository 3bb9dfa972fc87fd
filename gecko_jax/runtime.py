"""Services of a run: the main process, a mesh of devices, progress on stderr, metrics as JSON lines.

Nothing here touches a device on import, and only `mesh` does when it is called.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from gecko_jax import checks, json_values


def is_main_process() -> bool:
    """Returns whether this process writes files and shows progress: process 0, or the only one.

    A run of several processes has called `jax.distributed.initialize`; without it there is only one, and no device is
    touched.

    >>> is_main_process()
    True
    """
    import jax

    return not jax.distributed.is_initialized() or jax.process_index() == 0


def mesh(axis: str = "data", devices: Sequence[Any] | None = None) -> Any:
    """Builds a one-dimensional mesh over all devices of all processes.

    Its axis is of type Auto: the compiler places the sums over a sharded batch. (JAX's own default, Explicit, refuses
    them.)

    Args:
      axis: the mesh axis's name.
      devices: the devices, in order; all of them if None.

    Returns:
      A `jax.sharding.Mesh`.

    Raises:
      ValueError: if `devices` is empty.

    >>> import jax
    >>> dict(mesh("data", jax.devices()[:1]).shape)
    {'data': 1}
    """
    import jax

    chosen = jax.devices() if devices is None else checks.not_empty("devices", list(devices))
    return jax.make_mesh((len(chosen),), (axis,), axis_types=(jax.sharding.AxisType.Auto,), devices=chosen)


def duration(seconds: float) -> str:
    """Returns a number of seconds as text for a reader.

    Args:
      seconds: at least 0.

    >>> duration(4.25), duration(200), duration(7500)
    ('4.2 s', '3 min 20 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """The state behind `progress`; `done` counts the steps so far."""

    def __init__(self, total: int, label: str, stream: TextIO | None, every: float, clock: Callable[[], float]):
        self.total, self.label, self.done = total, label, 0
        self._stream, self._every, self._clock = stream, every, clock
        self._start = self._shown = clock()
        self._first = self._start

    def step(self, message: str = "") -> None:
        """Counts one step and shows it, with `message` and the time that remains."""
        self.done += 1
        now = self._clock()
        if self.done == 1:
            self._first = now
        self._show(self._line(now, message), now, force=self.done == 1)

    def _remaining(self, now: float) -> float | None:
        # The first step compiles; the pace is that of the steps after it.
        if not 1 < self.done < self.total:
            return None
        return (now - self._first) / (self.done - 1) * (self.total - self.done)

    def _line(self, now: float, message: str) -> str:
        left = self._remaining(now)
        parts = [f"{self.label} {self.done}/{self.total}", message, "" if left is None else f"{duration(left)} left"]
        return "  ".join(part for part in parts if part)

    def _show(self, line: str, now: float, force: bool) -> None:
        if self._stream is None:
            return
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[2K{line}")  # one line, rewritten in place
        elif force or now - self._shown >= self._every:
            self._stream.write(f"{line}\n")
        else:
            return
        self._shown = now
        self._stream.flush()

    def _finish(self, failed: bool) -> None:
        if self._stream is None:
            return
        took = duration(self._clock() - self._start)
        verdict = f"stopped after {took}" if failed else f"done in {took}"
        clear = "\r\x1b[2K" if self._stream.isatty() else ""
        self._stream.write(f"{clear}{self.label} {self.done}/{self.total}  {verdict}\n")
        self._stream.flush()


@contextmanager
def progress(
    total: int,
    label: str | None,
    stream: TextIO | None = None,
    *,
    every: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Shows how far a loop is: one updating line on a terminal, elsewhere at most one line every `every` seconds.

    Only process 0 shows anything.

    Args:
      total: how many steps there will be.
      label: what is being done ("training"); None: nothing is shown.
      stream: where it is shown; standard error if None.
      every: seconds between two lines if `stream` is not a terminal.
      clock: returns seconds that never go back.

    Yields:
      A Progress, whose `step(message)` counts one step.

    Raises:
      ValueError: if total is negative.

    >>> with progress(2, "training", sys.stdout, clock=lambda: 0.0) as bar:
    ...     bar.step("loss 0.71")
    ...     bar.step("loss 0.64")
    training 1/2  loss 0.71
    training 2/2  done in 0.0 s
    """
    checks.at_least("total", total, 0)
    stream = sys.stderr if stream is None else stream
    shown = label is not None and is_main_process()
    bar = Progress(total, label or "", stream if shown else None, every, clock)
    try:
        yield bar
    except BaseException:
        bar._finish(failed=True)
        raise
    bar._finish(failed=False)


def json_line(record: Mapping[str, Any]) -> str:
    r"""Returns one object as a line of a log; see `json_values.plain`.

    Args:
      record: its values may be arrays.

    >>> json_line({"loss": float("nan")})
    '{"loss": "nan"}\n'
    """
    return json_values.dumps(record, ensure_ascii=False) + "\n"


class JsonLines:
    """An append-only log: one JSON object a line, on disk as soon as it is written.

    A log that is opened again continues after its last complete line; a line that a crash left incomplete is cut off.
    Only process 0 writes; elsewhere `write` does nothing.

    Args:
      path: the file; its folder is created if absent.

    >>> import tempfile
    >>> log = JsonLines(Path(tempfile.mkdtemp()) / "log.jsonl")
    >>> log.write({"epoch": 1, "loss": 0.71})
    >>> log.close()
    >>> log.path.read_text()[:-1]
    '{"epoch": 1, "loss": 0.71}'
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = None
        if is_main_process():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _cut_half_line(self.path)
            # Unbuffered, so that a line is one system call: complete or absent. `close` closes it.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one object; its values may be arrays (see `json_values.plain`).

        Raises:
          TypeError: if a value has no JSON form; the log is left as it was.
          ValueError: if the log is closed.
        """
        line = json_line(record)
        if self._file is not None:
            self._file.write(line.encode())

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()


def _cut_half_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)
