"""Exchanges in one process, with a store that is a dictionary: what is removed, and what is refused."""

import jax
import numpy as np
import pytest

from gecko_jax import hosts
from gecko_jax.hosts import exchange, store


@pytest.fixture
def values(monkeypatch):
    """The coordinator's values; the test is process 0 of two, and writes for the other one."""
    stored = {}
    monkeypatch.setattr(store, "count", lambda: 2)
    monkeypatch.setattr(store, "put", stored.__setitem__)
    monkeypatch.setattr(exchange.watchdog, "start", lambda: None)
    monkeypatch.setattr(exchange.Exchange, "_count", 0)
    monkeypatch.setattr(exchange.Exchange, "_removed", 0)

    def entries(folder):
        return {key.removeprefix(f"{folder}/"): value for key, value in stored.items() if key.startswith(f"{folder}/")}

    def remove(folder):
        for key in [key for key in stored if key.startswith(f"{folder}/")]:
            del stored[key]

    def take_from(key, check):
        if key not in stored:
            check()
        return stored[key]

    for name, function in {"entries": entries, "remove": remove, "take_from": take_from}.items():
        monkeypatch.setattr(store, name, function)
    return stored


def test_what_all_processes_have_read_is_removed(values):
    for number in range(4):
        assert hosts.from_main(lambda: b"x" * 3_000_000) == b"x" * 3_000_000
        values["at/1"] = f'[{number}, "reading a file of process 0"]'
    stored = {key.split("/")[1] for key in values if key.startswith("exchanged/")}
    assert stored == {"2", "3"}, "the other process was at 2 when this one came to 3"


def test_processes_that_do_different_things_do_not_wait(values):
    values["at/1"] = '[0, "reading a file of process 0"]'
    with pytest.raises(RuntimeError, match="process 0 is at 'training' and process 1 at 'reading a file.*same lines"):
        hosts.check_same("training", {})


def test_an_error_that_cannot_be_sent_is_sent_as_what_it_says():
    class Odd(OSError):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    sent = exchange.pickle.loads(exchange._pickled(False, Odd("disk", "full")))
    assert type(sent[1]) is OSError and str(sent[1]) == "disk full"


def test_alone_nothing_is_sent():
    tree = {"a": np.arange(3), "b": [np.float32(1)]}
    assert hosts.broadcast(tree) is tree
    assert hosts.check_same("training", {"seed": object()}) is None
    assert not jax.distributed.is_initialized()
