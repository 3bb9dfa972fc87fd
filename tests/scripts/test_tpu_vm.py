"""scripts/tpu_vm.sh prints what it would run, word by word, and refuses what it does not understand."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "tpu_vm.sh"
GUIDE = (ROOT / "docs" / "accelerators.md").read_text()
PLACE = ["--zone=europe-west4-b", "--project=mine"]
# Nothing of a user's settings, and a gcloud that says what it was called with: the real one is never reached.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TPU_")}


def tpu_vm(*words, **settings):
    return subprocess.run(["bash", SCRIPT, *words], env=ENVIRONMENT | settings, capture_output=True, text=True)


def commands(*words, **settings):
    """The commands of a dry run, each as the list of its words; one may go over several lines."""
    done = tpu_vm(*words, "--dry-run", *PLACE, **settings) if "--" not in words else tpu_vm(*words, **settings)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [bash_words(line) for line in done.stdout.splitlines()]


def bash_words(line):
    """A printed command as bash reads it."""
    read = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    return read.stdout.split("\0")[:-1]


TPU = ["gcloud", "compute", "tpus", "tpu-vm"]


def test_create_names_machine_and_place():
    asked = commands("create", "--name=a-1", "--type=v4-8", "--version=v2", "--spot")
    assert asked == [[*TPU, "create", "a-1", "--accelerator-type=v4-8", "--version=v2", "--spot", *PLACE]]
    (asked,) = commands("create", TPU_NAME="b", TPU_TYPE="v6e-8")
    assert asked[5:7] == ["b", "--accelerator-type=v6e-8"] and "--spot" not in asked


def test_setup_copies_the_commit_and_installs_the_lock_on_all_hosts():
    archive, copy, install = commands("setup", "--name=a")
    assert archive[:2] == ["git", "-C"] and archive[-1] == "HEAD"
    path = archive[-2].removeprefix("--output=")
    assert copy == [*TPU, "scp", path, "a:gecko_jax.tar.gz", "--worker=all", *PLACE]
    assert install[4:7] == ["ssh", "a", "--worker=all"]
    remote = install[7].removeprefix("--command=")
    assert "requirements.lock --require-hashes" in remote and '"jax[tpu]==$version"' in remote
    assert subprocess.run(["bash", "-n", "-c", remote], check=False).returncode == 0


def test_run_passes_every_word_on_and_refuses_a_second_run(tmp_path):
    module = ["experiments.audit.run", "--preset=paper", "--output=a b'c", "$HOME"]
    (asked,) = commands("run", "--name=a", "--dry-run", *PLACE, "--", *module)
    assert asked[4:7] == ["ssh", "a", "--worker=all"]
    home, seen = tmp_path / "gecko_jax", tmp_path / "seen"
    (home / ".venv" / "bin").mkdir(parents=True)
    python = home / ".venv" / "bin" / "python"
    python.write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" >{seen}.new; mv {seen}.new {seen}; exec sleep 30\n")
    python.chmod(0o755)
    script = asked[7].removeprefix("--command=") + f"\nwhile [[ ! -f {seen} ]]; do sleep .01; done"
    first = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert first.returncode == 0, first.stderr
    try:
        assert seen.read_text().split("\0")[:-1] == ["-m", *module]
        second = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1 and "a run is under way" in second.stderr
    finally:
        os.kill(int((home / "runs" / "pid").read_text()), 9)


def test_logs_fetch_and_delete():
    (asked,) = commands("logs", "--follow")
    assert asked[-3:] == ["--command=tail -n 100 -F gecko_jax/runs/log.txt", *PLACE]
    (asked,) = commands("fetch", "--name=a")
    assert asked == [*TPU, "scp", "--recurse", "a:gecko_jax/runs", str(ROOT), "--worker=0", *PLACE]
    (asked,) = commands("delete", "--name=a")
    assert asked == [*TPU, "delete", "a", *PLACE], "gcloud asks before, as nobody has told it not to"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["start"], "unknown command 'start'; expected create, setup, run, logs, fetch or delete"),
        (["create", "--tpye=v4-8"], "unknown flag '--tpye=v4-8'"),
        (["create", "--name="], "unknown flag '--name='"),
        (["create", "--name=A b"], "--name=A b must be small letters"),
        (["run"], "run needs a module"),
        (["run", "experiments.audit.run"], "What to run stands behind --"),
        (["delete", "--", "all"], "'delete' takes nothing behind --"),
    ],
)
def test_what_it_does_not_understand_is_refused(words, told):
    done = tpu_vm(words[0], "--dry-run", *words[1:])
    assert done.returncode == 1 and done.stdout == "" and told in done.stderr


def test_without_the_google_cloud_cli_it_says_what_is_missing(tmp_path):
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = tpu_vm("create", PATH=str(tmp_path))
    assert done.returncode == 1 and "gcloud is missing" in done.stderr and "--dry-run" in done.stderr


def test_the_guides_commands_are_understood():
    lines = [line for line in GUIDE.splitlines() if line.startswith("scripts/tpu_vm.sh ")]
    assert len(lines) == 6
    for line in lines:
        command, *words = shlex.split(line, comments=True)[1:]
        done = tpu_vm(command, "--dry-run", *words)
        assert done.returncode == 0 and done.stdout.count("gcloud") >= 1, done.stderr
    for path in re.findall(r"`((?:scripts|experiments|docs)/[\w./]+)`", GUIDE):
        assert (ROOT / path).exists(), path
