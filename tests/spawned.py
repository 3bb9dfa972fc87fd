"""Starts a program in several processes that meet on this machine, and waits for all of them."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def environment(devices):
    """This process's, with another number of devices."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}".strip(),
    }


def run_together(program, processes, devices, folder, seconds=240):
    """[(exit status, output, seconds until it ended)] of `program COORDINATOR PROCESSES NUMBER FOLDER`."""
    coordinator, started, ended = f"127.0.0.1:{free_port()}", [], {}
    begin = time.monotonic()
    try:
        for number in range(processes):
            with open(folder / f"{processes}_{number}.log", "wb") as log:
                command = [sys.executable, program, coordinator, str(processes), str(number), folder]
                started.append(subprocess.Popen(command, env=environment(devices), stdout=log, stderr=log))
        while len(ended) < processes and time.monotonic() - begin < seconds:
            for number, each in enumerate(started):
                if number not in ended and each.poll() is not None:
                    ended[number] = time.monotonic()
            time.sleep(0.05)
    finally:
        for each in started:
            each.kill()
            each.wait()
    logs = [(folder / f"{processes}_{number}.log").read_text(errors="replace") for number in range(processes)]
    return [(each.returncode, log, ended[number]) for number, (each, log) in enumerate(zip(started, logs, strict=True))]
