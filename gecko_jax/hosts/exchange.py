"""What processes tell each other: facts that must be equal, what process 0 read, arrays that only it has."""

from __future__ import annotations

import functools
import pathlib
import pickle
from collections.abc import Callable, Mapping
from json import loads
from typing import Any, TypeVar

import jax
import numpy as np

from gecko_jax.digests import sha256
from gecko_jax.hosts import store, watchdog
from gecko_jax.json_values import dumps

T = TypeVar("T")

MAX_SHOWN_CHARACTERS = 60  # of a value that differs


def check_same(what: str, facts: Mapping[str, Any]) -> None:
    """Raises ValueError in every process unless all of them are about to do the same, with the same program.

    Without it, processes with different data would train one model on a mixture that nobody asked for, and processes
    that differ in the number of steps would wait for each other.

    Args:
      what: the processes are about to do; two of them that do different things are refused as well.
      facts: {name: value of JSON's types, or a digest}, short enough to be sent.

    Raises:
      ValueError: naming what differs, and where.

    >>> check_same("training.fit", {"seed": 1})
    """
    if store.count() == 1:
        return
    watchdog.start()
    exchange = Exchange(what)
    mine = {"what is done": what, **_programs(), **facts}
    shown = {name: (sha256(text := dumps(value))[:16], _short(text)) for name, value in mine.items()}
    exchange.put(dumps(shown).encode())
    each = [loads(exchange.take(other)) for other in range(store.count())]
    for name in dict.fromkeys(name for facts in each for name in facts):
        digests, texts = zip(*(facts.get(name, (None, "absent")) for facts in each), strict=True)
        if len(set(digests)) > 1:
            other = next(number for number, digest in enumerate(digests) if digest != digests[0])
            raise ValueError(
                f"the {len(each)} processes do not agree before {what}: {name} is {texts[0]} in process 0 and "
                f"{texts[other]} in process {other}. Expected one program on the same data and settings in all of "
                "them: start all with the same command, code, JAX and files."
            )


def from_main(read: Callable[[], T]) -> T:
    """Returns in every process what a function returned in process 0, which alone calls it.

    It is for what stands in files, because hosts may see other ones. An exception in process 0 is raised everywhere.

    Args:
      read: what process 0 does; what it returns can be pickled.

    >>> from_main(lambda: 3)
    3
    """
    if store.count() == 1:
        return read()
    watchdog.start()
    exchange = Exchange("reading a file of process 0")
    if store.is_main():
        try:
            answer: Any = True, read()
        except Exception as error:  # every process raises it, where the caller expects it
            answer = False, error
        exchange.put(_pickled(*answer))
    else:
        answer = pickle.loads(exchange.take(0))  # of our own program, from the coordinator that it trusts
    is_value, value = answer
    if not is_value:
        raise value
    return value


def broadcast(tree: Any) -> Any:
    """Returns process 0's arrays in every process, to the bit.

    Args:
      tree: host arrays; in the other processes any of the same shapes and types.

    >>> broadcast(np.arange(2)).tolist()
    [0, 1]
    """
    if store.count() == 1:
        return tree
    from jax.experimental import multihost_utils

    def one(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        content = np.frombuffer(leaf.tobytes() + bytes(-leaf.nbytes % 4), np.uint32)  # a sum of integers loses no bit
        words = np.asarray(multihost_utils.broadcast_one_to_all(content)) if content.size else content
        return np.frombuffer(words.tobytes()[: leaf.nbytes], leaf.dtype).reshape(leaf.shape).copy()

    return jax.tree.map(one, tree)


class Exchange:
    """One exchange of all processes, which number theirs alike.

    Args:
      what: is exchanged.

    Raises:
      RuntimeError: later, in `take`, if the processes do different things, and would wait for each other for ever.
    """

    _count, _removed = 0, 0

    def __init__(self, what: str):
        self._number, self._what = Exchange._count, what
        Exchange._count += 1
        store.put(f"at/{jax.process_index()}", dumps([self._number, what]))
        if store.is_main():  # what all have read is removed; a slower process is not waited for
            behind = [loads(place)[0] for place in store.entries("at").values()]
            last = min(behind) if len(behind) == store.count() else 0
            for number in range(Exchange._removed, last):
                store.remove(f"exchanged/{number}")
            Exchange._removed = max(last, Exchange._removed)

    def put(self, content: bytes) -> None:
        """Leaves this process's content for the others."""
        store.put_bytes(f"exchanged/{self._number}/{jax.process_index()}", content)

    def take(self, process: int) -> bytes:
        """Waits for another process's content and returns it."""
        return store.take_bytes(f"exchanged/{self._number}/{process}", self._check)

    def _check(self) -> None:
        for process, place in store.entries("at").items():
            number, what = loads(place)
            if number == self._number and what != self._what:
                raise RuntimeError(
                    f"process {jax.process_index()} is at {self._what!r} and process {process} at {what!r}: they would "
                    "wait for each other for ever. Every process must run the same lines in the same order."
                )


def _pickled(is_value: bool, value: Any) -> bytes:
    try:
        content = pickle.dumps((is_value, value))
        pickle.loads(content)  # an exception with arguments of its own may be pickled and not read again
        return content
    except Exception:  # pickle raises whatever the value's own methods raise
        if is_value:
            raise
        return pickle.dumps((False, (OSError if isinstance(value, OSError) else ValueError)(str(value))))


@functools.cache
def _programs() -> dict[str, str]:
    """Returns what a process runs: versions, code and settings that change results."""
    from importlib.metadata import version

    root = pathlib.Path(__file__).resolve().parents[1]
    code = sha256(*(f"{path.relative_to(root)} {sha256(path.read_bytes())}\n" for path in sorted(root.rglob("*.py"))))
    settings = ("jax_enable_x64", "jax_threefry_partitionable", "jax_default_matmul_precision", "jax_default_prng_impl")
    return {
        "JAX": jax.__version__,
        "jaxlib": version("jaxlib"),
        "NumPy": np.__version__,
        "the code of gecko_jax": code[:16],
        "the kind of device": f"{jax.default_backend()} {jax.local_devices()[0].device_kind}",
        **{name: str(getattr(jax.config, name)) for name in settings},
    }


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."
