import io
import json
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from gecko_jax import runtime


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_progress_is_sparse_in_a_file():
    clock, stream = Clock(), io.StringIO()
    with runtime.progress(100, "training", stream, every=10.0, clock=clock) as bar:
        for _ in range(100):
            clock.now += 1.0
            bar.step()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training 1/100"
    assert lines[1] == "training 11/100  1 min 29 s left"
    assert lines[-1] == "training 100/100  done in 1 min 40 s"
    assert len(lines) == 11


def test_progress_keeps_to_one_line_on_a_terminal():
    clock, stream = Clock(), Terminal()
    with runtime.progress(3, "attack", stream, clock=clock) as bar:
        for i in range(3):
            bar.step(f"auc {i}")
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("attack 3/3  done in 0.0 s\n")
    assert text.count("\r\x1b[2K") == 4
    assert "attack 2/3  auc 1" in text


def test_time_left_leaves_the_compiling_first_step_out():
    clock, stream = Clock(), Terminal()
    with runtime.progress(11, "fit", stream, clock=clock) as bar:
        clock.now += 50.0
        bar.step()
        clock.now += 2.0
        bar.step()
    assert "fit 2/11  18.0 s left" in stream.getvalue()


def test_progress_says_where_it_stopped():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), runtime.progress(5, "fit", stream, clock=Clock()) as bar:
        bar.step()
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "fit 1/5  stopped after 0.0 s"


def test_progress_speaks_on_standard_error(capsys):
    with runtime.progress(0, "nothing"):
        pass
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "nothing 0/0  done in 0.0 s\n"


def test_progress_refuses_a_negative_total():
    with pytest.raises(ValueError, match=r"total=-1 must be at least 0"), runtime.progress(-1, "fit"):
        pass


def test_other_processes_are_silent(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "is_main_process", lambda: False)
    stream = io.StringIO()
    with runtime.progress(1, "fit", stream) as bar:
        bar.step()
    with runtime.JsonLines(tmp_path / "log.jsonl") as log:
        log.write({"step": 1})
    assert bar.done == 1 and stream.getvalue() == "" and os.listdir(tmp_path) == []


def test_json_lines_hold_arrays_and_nan(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with runtime.JsonLines(path) as log:
        log.write({"step": np.int64(3), "loss": jnp.float32(0.5), "norms": jnp.arange(2), "name": "grün", "at": path})
        log.write({"loss": math.nan, "nested": [np.float32(np.inf), {"bits": (1, 2)}]})
        assert len(path.read_text().splitlines()) == 2, "each line is on disk at once"
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert first == {"step": 3, "loss": 0.5, "norms": [0, 1], "name": "grün", "at": str(path)}
    assert second == {"loss": "nan", "nested": ["inf", {"bits": [1, 2]}]}


def test_json_lines_leave_the_log_alone_on_a_bad_value(tmp_path):
    with runtime.JsonLines(tmp_path / "log.jsonl") as log:
        log.write({"step": 1})
        with pytest.raises(TypeError, match=r"value\[.function.\] is a builtin_function"):
            log.write({"step": 2, "function": print})
        log.write({"step": 3})
    log.close()
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 3]
    with pytest.raises(ValueError, match="closed"):
        log.write({"step": 4})


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    records=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), max_size=5), cut=st.integers(0, 200)
)
def test_a_log_cut_anywhere_goes_on_after_its_last_whole_line(tmp_path_factory, records, cut):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with runtime.JsonLines(path) as log:
        for record in records:
            log.write(record)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    with runtime.JsonLines(path) as log:
        log.write({"resumed": True})
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert entries == [*records[: content.count(b"\n")], {"resumed": True}]


def test_a_long_half_line_is_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"values": [' + b"1, " * 100_000)
    runtime.JsonLines(path).close()
    assert path.read_bytes() == b'{"step": 1}\n'
    path.write_bytes(b"\0" * 200_000)
    runtime.JsonLines(path).close()
    assert path.read_bytes() == b""


def test_mesh_sums_a_sharded_batch():
    mesh = runtime.mesh("batch")
    assert mesh.axis_names == ("batch",) and mesh.size == len(jax.devices())
    x = np.arange(8.0, dtype=np.float32) * mesh.size
    x = np.repeat(x, mesh.size)
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    assert float(jax.jit(lambda a: (a * a).sum())(sharded)) == float((x * x).sum())
    assert runtime.mesh("model", jax.devices()[:1]).size == 1
    with pytest.raises(ValueError, match="devices is empty"):
        runtime.mesh("data", [])


def test_a_lone_process_is_the_main_one_without_asking_a_device(monkeypatch):
    def asked():
        raise AssertionError("process_index starts a backend")

    monkeypatch.setattr(jax, "process_index", asked)
    assert runtime.is_main_process()


@pytest.mark.parametrize("index", [0, 1])
def test_of_several_processes_the_first_is_the_main_one(monkeypatch, index):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    assert runtime.is_main_process() == (index == 0)
