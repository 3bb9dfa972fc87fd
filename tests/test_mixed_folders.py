"""Files that belong together: whenever the process dies, a folder holds one run's files, or is refused."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from dying import die_at, points

from gecko_jax import files

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUNS = {run: {"weights.bin": f"weights of {run}", "page.html": f"page of {run}"} for run in "AB"}


def write(folder, run):
    files.write_together(folder, RUNS[run], "run.json", lambda digests: json.dumps({"run": run, "files": digests}))


def read(folder):
    """Which run a folder holds; None if it is refused."""
    try:
        marker = json.loads((folder / "run.json").read_text())
        contents = {name: files.read_checked(folder / name, each) for name, each in marker["files"].items()}
    except (OSError, ValueError):
        return None
    assert contents == {name: text.encode() for name, text in RUNS[marker["run"]].items()}, "files of two runs"
    return marker["run"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_that_dies_anywhere_leaves_one_run_or_none(tmp_path, error):
    outcomes = []
    write(tmp_path / "count", "A")
    for point in points(lambda: write(tmp_path / "count", "B")):
        folder = tmp_path / str(point)
        write(folder, "A")
        with pytest.MonkeyPatch.context() as patch, pytest.raises((error, OSError)):
            die_at(patch, point, error)
            write(folder, "B")
            raise OSError("a folder that could not be synced is not a failure")
        outcomes.append(read(folder))
        assert sorted(path.name for path in folder.iterdir() if path.suffix == ".part") == []
        write(folder, "B")
        assert read(folder) == "B"
    assert {"A", None, "B"} == set(outcomes)
    if error is KeyboardInterrupt:
        assert outcomes == sorted(outcomes, key=("A", None, "B").index), "the old run, then none, then the new one"


SCRIPT = """
import os, pathlib, signal, sys, tempfile
sys.path[:0] = {path!r}
import dying, test_mixed_folders as tests
folder, point = pathlib.Path(sys.argv[1]), int(sys.argv[2])
calls = []
def counted(real):
    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call
for module, name in dying.CALLS:
    setattr(module, name, counted(getattr(module, name)))
tests.write(folder, "B")
"""


def test_a_run_that_is_killed_leaves_one_run_or_none(tmp_path):
    """SIGKILL, before each renaming and removal of the second run."""
    write(tmp_path / "count", "A")
    names = []
    with pytest.MonkeyPatch.context() as patch:
        calls = die_at(patch, 0)
        write(tmp_path / "count", "B")
        names = list(calls)
    renamings = [i for i, name in enumerate(names, 1) if name in ("replace", "unlink")]
    script = SCRIPT.format(path=[str(ROOT), str(ROOT / "tests")])
    running = []
    for point in renamings:
        write(tmp_path / str(point), "A")
        command = [sys.executable, "-c", script, str(tmp_path / str(point)), str(point)]
        running.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}))
    assert [each.wait() for each in running] == [-signal.SIGKILL] * len(renamings)
    assert [read(tmp_path / str(point)) for point in renamings] == ["A", None, None, None]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_others_may_read_what_the_umask_lets_them(tmp_path, umask):
    old = os.umask(umask)
    try:
        write(tmp_path, "A")
        (tmp_path / "any").write_text("")
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys((*RUNS["A"], "run.json", "any"), 0o666 & ~umask)


def test_a_digest_is_sha256_of_the_bytes(tmp_path):
    write(tmp_path, "A")
    done = subprocess.run(["sha256sum", tmp_path / "page.html"], capture_output=True, text=True, check=True)
    assert json.loads((tmp_path / "run.json").read_text())["files"]["page.html"] == done.stdout.split()[0]
    with pytest.raises(ValueError, match="must name the SHA-256 of each file"):
        files.check_present(tmp_path, ["page.html"])
    (tmp_path / "page.html").write_text("edited")
    with pytest.raises(ValueError, match="page.html is not the file that was written with the others"):
        files.check_present(tmp_path, json.loads((tmp_path / "run.json").read_text())["files"])


def test_damaged_arrays_are_a_value_error_whatever_is_damaged(tmp_path):
    """Zip, its compressions and NumPy's headers have a dozen kinds of errors of their own, OSError among them."""
    draws, path = np.random.default_rng(0), tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(40), y=np.eye(3))
    good, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(good)
        for place in draws.integers(len(good), size=draws.integers(1, 9)):
            damaged[place] ^= 1 << draws.integers(8)
        path.write_bytes(damaged[: draws.integers(1, len(good) + 1)] if draws.random() < 0.3 else damaged)
        try:
            arrays = files.read_arrays(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert all(np.array_equal(arrays[name], each) for name, each in (("x", np.arange(40)),) if name in arrays)
    assert refused > 200
    with pytest.raises(FileNotFoundError):
        files.read_arrays(tmp_path / "none.npz")
