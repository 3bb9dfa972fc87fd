"""Starts a program as several processes that meet on this machine, and waits for all of them."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def environment(devices):
    """This process's, with another number of devices."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}".strip(),
    }


def run_together(program, processes, devices, folder, seconds=240):
    """[(exit status, output, when it ended)] of the processes of a program that calls `be_several`."""
    command = [sys.executable, program, str(processes), f"127.0.0.1:{free_port()}", str(folder)]
    done = subprocess.run(command, env=environment(devices), capture_output=True, text=True, timeout=seconds)
    ended = {number: (code, when) for number, code, when in map(str.split, done.stdout.splitlines())}
    assert len(ended) == processes, done.stderr[-3000:]
    logs = [(folder / f"{processes}_{number}.log").read_text(errors="replace") for number in range(processes)]
    return [(int(ended[str(number)][0]), log, float(ended[str(number)][1])) for number, log in enumerate(logs)]


def be_several(main, processes, coordinator, folder):
    """Runs main(coordinator, processes, number, folder) in processes that are forked from this one.

    Its imports, which cost more than all else, are done once. No thread runs yet, and no device has been used.
    """
    started = {}
    for number in range(int(processes)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of JAX, which cannot know that it has started nothing
            started[os.fork()] = number
        if 0 in started:
            log = os.open(pathlib.Path(folder) / f"{processes}_{number}.log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            main(coordinator, int(processes), number, folder)
            return
    while started:
        process, status = os.wait()
        print(started.pop(process), os.waitstatus_to_exitcode(status), time.monotonic(), flush=True)
