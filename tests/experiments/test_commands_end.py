"""Ctrl-C, a closed output, errors and --help end every command with a message and a status, never with a traceback."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import command
from gecko_jax import training

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
NOT_FINITE = training.NotFinite(0, 1, 2, None, float("nan"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
        (ValueError("a is bad"), "name: a is bad"),
        (FileNotFoundError(2, "gone", "f"), "name: [Errno 2] gone: 'f'"),
        (MemoryError(), "name: MemoryError"),
        (NOT_FINITE, f"name: {NOT_FINITE}"),
        (SystemExit(3), 3),
    ],
)
def test_an_error_ends_a_command_with_a_status(error, code, monkeypatch):
    monkeypatch.delenv("GECKO_JAX_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as end, command.reported("name"):
        raise error
    assert end.value.code == code


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    with pytest.raises(KeyError), command.reported("name"):
        raise KeyError("a bug")
    monkeypatch.setenv("GECKO_JAX_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shown"), command.reported("name"):
        raise ValueError("shown")


BENCHMARKS = [f"benchmarks/{name}" for name in ("audit", "private", "training", "xnor")]
SCRIPTS = ["train", "audit", "prepare_data", *BENCHMARKS]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_ends_with_0(script, run_script):
    done = run_script(f"{script}.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


@pytest.mark.parametrize("name", ["gecko", "audit", "dp_clipping", "self_audit"])
def test_ctrl_c_while_modules_are_loaded_ends_as_it_does_later(name, monkeypatch):
    class Interrupted:
        def find_spec(self, module, *unused):
            if module == f"experiments.{name}.config":
                raise KeyboardInterrupt

    main = importlib.import_module(f"experiments.{name}.run").main
    monkeypatch.delitem(sys.modules, f"experiments.{name}.config", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        main(["run", "--help"])
    assert end.value.code == 130


# A shell starts what runs in its background with SIGINT ignored, and whatever that starts inherits it.
WITH_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def start(*arguments):
    command, pipe = [sys.executable, "-c", WITH_INTERRUPTS, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def test_a_closed_output_and_ctrl_c_end_quietly(tmp_path):
    """As a shell has it: `train.py --help | head`, and Ctrl-C while it trains."""
    closed = start("scripts/train.py", "--help")
    closed.stdout.close()
    late = start("scripts/train.py", "--epochs=20000", "--hidden=8", f"--output={tmp_path}/late")
    log = tmp_path / "late" / "checkpoints" / "model" / "metrics.jsonl"
    for _ in range(600):
        if log.exists() and log.stat().st_size:
            break
        time.sleep(0.1)
    late.send_signal(signal.SIGINT)
    for process, code in ((closed, 141), (late, 130)):
        with process:  # closes its streams
            errors = process.stderr.read()
        assert process.returncode == code, errors
        assert "Traceback" not in errors and "Exception ignored" not in errors
        assert code == 141 or "interrupted; the same command goes on" in errors
