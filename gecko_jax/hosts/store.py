"""Short values that processes leave for each other at the coordinator, the service that `jax.distributed` starts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import jax

PREFIX = "gecko_jax"
MAX_CHARACTERS = 2**20  # of one value; longer ones are cut
WAIT_SECONDS = 5  # for a value, before it is asked for again


def count() -> int:
    """Returns the number of processes that run this program; no device is touched without `jax.distributed`.

    >>> count()
    1
    """
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_main() -> bool:
    """Returns whether this is process 0, or the only one.

    >>> is_main()
    True
    """
    return count() == 1 or jax.process_index() == 0


def client() -> Any:
    """Returns the connection to the coordinator."""
    from jax._src import distributed  # JAX has no public way to reach its key-value store

    return distributed.global_state.client


def put(key: str, value: str) -> None:
    """Leaves a value, in place of the one before."""
    client().key_value_set(f"{PREFIX}/{key}", value, allow_overwrite=True)


def entries(folder: str) -> dict[str, str]:
    """Returns the values whose keys begin with `folder`, by the rest of their keys."""
    start = f"{PREFIX}/{folder}/"
    return {key.removeprefix(start): value for key, value in client().key_value_dir_get(start)}


def take_from(key: str, check: Callable[[], None]) -> str:
    """Waits for a value and returns it. The watchdog ends the wait if a process is gone.

    Args:
      key: of the value.
      check: called now and then; raises if the value will not come.
    """
    while True:
        try:
            return client().blocking_key_value_get(f"{PREFIX}/{key}", WAIT_SECONDS * 1000)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        check()


def put_bytes(key: str, content: bytes) -> None:
    """Leaves a content of any length."""
    text = base64.b64encode(content).decode()
    parts = [text[start : start + MAX_CHARACTERS] for start in range(0, len(text), MAX_CHARACTERS)]
    for number, part in enumerate(parts):
        put(f"{key}/{number}", part)
    put(f"{key}/parts", str(len(parts)))


def take_bytes(key: str, check: Callable[[], None]) -> bytes:
    """Waits for a content and returns it; arguments as of `take_from`."""
    parts = int(take_from(f"{key}/parts", check))
    return base64.b64decode("".join(take_from(f"{key}/{number}", check) for number in range(parts)))


def remove(folder: str) -> None:
    """Removes the values below a folder."""
    client().key_value_delete(f"{PREFIX}/{folder}/")
