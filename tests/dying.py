"""A process that dies at any one of the calls that change a folder."""

import os
import tempfile

import pytest

CALLS = ((os, "replace"), (os, "unlink"), (os, "fsync"), (os, "chmod"), (tempfile, "mkstemp"))


def die_at(monkeypatch, count, error=KeyboardInterrupt):
    """Every way to change a folder counts; the one of this number raises, once. Returns the list of calls so far."""
    calls = []

    def counted(real, name):
        def call(*arguments, **options):
            calls.append(name)
            if len(calls) == count:
                raise error(f"at {name}")
            return real(*arguments, **options)

        return call

    for module, name in CALLS:
        monkeypatch.setattr(module, name, counted(getattr(module, name), name))
    return calls


def points(write_second):
    """How many calls there are at which a second run may die."""
    with pytest.MonkeyPatch.context() as patch:
        calls = die_at(patch, 0)
        write_second()
    return range(1, len(calls) + 1)
