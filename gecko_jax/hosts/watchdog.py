"""Stops this process if another one is gone: a program over all devices would wait for it for ever.

A thread of each process leaves a beat at the coordinator and reads those of the others. A process that is silent, or
failed where the others did not, or ended while the others work, cannot be replaced: the others say so and stop, and the
same command goes on from the last checkpoint.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from json import loads
from typing import Any, TypeVar

import jax

from gecko_jax.hosts import store
from gecko_jax.json_values import dumps

F = TypeVar("F", bound=Callable[..., Any])

BEAT_SECONDS = 2.0
SILENCE_SECONDS = 20.0  # without a beat, a process is taken for dead; tracing and garbage collection take less
GRACE_SECONDS = 10.0  # after which an error of one process is its own: all others would have raised it, too
LOST_CONNECTION = re.compile(r"gloo|nccl|connection (closed|reset|refused)|peer|UNAVAILABLE|coordination", re.I)
AGAIN = "Start all processes again with the same command: the run goes on from its last checkpoint."


class ProcessLost(RuntimeError):
    """A program over all devices failed because the connection to another process is gone."""


class Watchdog:
    """The beats of this process and what it knows of the others.

    Args:
      own: number of this process.
      stop: (message) -> None, ends the process.
      clock: returns seconds that never go back.
    """

    def __init__(self, own: int, stop: Callable[[str], Any], clock: Callable[[], float] = time.monotonic):
        self.own, self._stop, self._clock = own, stop, clock
        self.depth, self.entered, self.is_done = 0, 0, False
        self.failed: list[Any] | None = None  # (how many functions had been entered, the error) of the last one
        self._beats, self._seen, self._heard = 0, dict[str, tuple[str, float]](), clock()
        self._apart: dict[str, float] = {}  # since when a process has done something else than this one

    def beat(self) -> str:
        """Returns the next beat of this process."""
        self._beats += 1
        return dumps({"beat": self._beats, "failed": self.failed, "done": self.is_done})

    def look(self, beats: dict[str, str] | None) -> None:
        """Judges the beats of all processes; None: the coordinator did not answer."""
        now = self._clock()
        if beats is None:
            if now - self._heard > SILENCE_SECONDS:
                self._stop("process 0, which the others meet at, does not answer: it died or its host is gone")
            return
        self._heard = now
        for name, beat in beats.items():
            if name == str(self.own):
                continue
            if self._seen.get(name, ("", 0.0))[0] != beat:
                self._seen[name] = beat, now
            known, silent = loads(beat), now - self._seen[name][1]
            reason = self._apart_from(name, known)
            if silent > SILENCE_SECONDS and not known["done"]:
                self._stop(f"process {name} has been silent for {silent:.0f} s: it died or its host is gone")
            if reason is None:
                self._apart.pop(name, None)
            elif now - self._apart.setdefault(name, now) > GRACE_SECONDS:
                self._stop(reason)

    def _apart_from(self, name: str, beat: dict[str, Any]) -> str | None:
        """Returns what another process did that this one did not."""
        if beat["failed"] and (self.failed is None or self.failed[0] != beat["failed"][0]):
            return f"process {name} failed: {beat['failed'][1]}"
        if beat["done"] and self.depth:
            return f"process {name} has ended while this one still works"
        return None


_watchdog: Watchdog | None = None
_lock = threading.Lock()


def start() -> Watchdog | None:
    """Starts the thread, once; returns None in a single process."""
    global _watchdog
    if store.count() == 1:
        return None
    with _lock:
        if _watchdog is None:
            _watchdog = Watchdog(jax.process_index(), _end)
            store.put(f"beats/{_watchdog.own}", _watchdog.beat())
            threading.Thread(target=_watch, args=(_watchdog,), daemon=True, name="watchdog").start()
            atexit.register(_leave, _watchdog)
    return _watchdog


def guarded(function: F) -> F:
    """Wraps a function that all processes run together: if one of them fails in it or dies, the others stop.

    An error that all processes raise is an ordinary exception.

    Args:
      function: any.

    >>> guarded(len)("abc")
    3
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        watchdog = start()
        if watchdog is None:
            return function(*args, **kwargs)
        watchdog.depth += 1
        if watchdog.depth == 1:
            watchdog.entered, watchdog.failed = watchdog.entered + 1, None
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            lost = isinstance(error, jax.errors.JaxRuntimeError) and LOST_CONNECTION.search(str(error))
            if watchdog.depth == 1:
                watchdog.failed = [watchdog.entered, f"{type(error).__name__}: {str(error)[:500]}"]
            if lost:
                raise ProcessLost(f"another process is gone, or the network between the hosts. {AGAIN}") from error
            raise
        finally:
            watchdog.depth -= 1

    return call  # pyright: ignore[reportReturnType]


def _watch(watchdog: Watchdog) -> None:
    while not watchdog.is_done:
        try:
            store.put(f"beats/{watchdog.own}", watchdog.beat())
            beats = store.entries("beats")
        except Exception:  # whatever the connection raises: the coordinator does not answer
            beats = None
        if not watchdog.is_done:
            watchdog.look(beats)
        time.sleep(BEAT_SECONDS)


def _end(reason: str) -> None:
    """Ends this process at once: its main thread may wait in a program that no exception reaches."""
    number, processes = jax.process_index(), store.count()
    sys.stderr.write(f"\ngecko_jax: process {number} of {processes} stops: {reason}. {AGAIN}\n")
    sys.stderr.flush()
    if number == 0:
        time.sleep(3 * BEAT_SECONDS)  # the others meet here: first they say what they know
    os._exit(1)


def _leave(watchdog: Watchdog) -> None:
    """Says that this process ends. If it alone has failed, it waits until the others have heard of it."""
    try:
        store.put(f"beats/{watchdog.own}", watchdog.beat())
        until = time.monotonic() + GRACE_SECONDS + 3 * BEAT_SECONDS
        while watchdog.failed and not _all_failed(watchdog.failed):
            if time.monotonic() > until:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(1)  # JAX's own end would wait for processes that are gone
            time.sleep(0.2)
        watchdog.is_done = True
        store.put(f"beats/{watchdog.own}", watchdog.beat())
    except Exception:  # the coordinator is gone, and with it whoever would read this
        watchdog.is_done = True


def _all_failed(failed: list[Any]) -> bool:
    beats = [loads(beat) for beat in store.entries("beats").values()]
    return len(beats) == store.count() and all(each["failed"] and each["failed"][0] == failed[0] for each in beats)
