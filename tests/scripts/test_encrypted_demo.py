"""scripts/encrypted_demo.py: a second process, which holds no secret key, answers for encrypted digits."""

import os
import re
import sys

import pytest

from scripts import encrypted_demo


def test_a_second_process_predicts_encrypted_digits(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    encrypted_demo.main(["encrypted_demo", f"--output={tmp_path / 'program'}", "--epochs=3", "--examples=70"])
    printed, progress = capfd.readouterr()
    right = re.search(r"70 encrypted digits in .* s \(measured\): (\d+) labels are right", printed)
    assert right and int(right[1]) > 35
    server = re.search(r"process (\d+) serves at http://127.0.0.1:\d+ and has", printed)
    assert server and int(server[1]) != os.getpid()
    assert progress.count("encrypted 3/3  done in") == 2, "two runs of up to 64 digits"
    assert not list(tmp_path.rglob("*key*"))


def test_a_server_that_does_not_start_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(encrypted_demo.sys, "executable", "false")
    with pytest.raises(SystemExit, match="the server did not start"), encrypted_demo.command.reported("demo"):
        encrypted_demo.ask(encrypted_demo.Config(output=str(tmp_path)))


@pytest.mark.parametrize("flag", ["--examples=0", "--examples=361", "--port=70000", "--epochs=0"])
def test_a_bad_flag_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        encrypted_demo.main(["encrypted_demo", flag])
    assert flag[2:].split("=")[0] in capsys.readouterr().err
