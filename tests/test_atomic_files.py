from __future__ import annotations

import errno
import os
import pathlib
import tempfile

import pytest

from gecko_jax.files import write_atomic


def test_it_writes_text_and_bytes_as_they_are(tmp_path):
    path = write_atomic(tmp_path / "new" / "a.txt", "é\r\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n"
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_others_may_read_it_as_any_file(tmp_path):
    (tmp_path / "plain").write_text("")
    assert write_atomic(tmp_path / "a", "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = write_atomic(tmp_path / "a.txt", "old")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    message = "could not write 9 bytes .No space left on device.*old file is unchanged.*a.txt"
    with pytest.raises(OSError, match=message) as caught:
        write_atomic(path, "new, long")
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_device_that_is_really_full(tmp_path, monkeypatch):
    def on_full_device(dir, **kwargs):
        name = pathlib.Path(dir) / "temporary"
        name.touch()
        return os.open("/dev/full", os.O_WRONLY), str(name)

    monkeypatch.setattr(tempfile, "mkstemp", on_full_device)
    with pytest.raises(OSError, match="could not write 100000 bytes .No space left"):
        write_atomic(tmp_path / "a.bin", bytes(100_000))
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="could not write 1 bytes.*file/a"):
        write_atomic(tmp_path / "file" / "a", "x")
