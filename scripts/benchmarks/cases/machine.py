"""What the benchmarks settle before JAX is imported: which processor, how many threads, and what freed memory does."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # of glibc's mallopt


def prepare(threads: int) -> bool:
    """Returns whether JAX computes on a CPU, which has to be known before it is imported: then threads are pinned."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if not platforms:
        ask = "import jax; print(jax.default_backend())"
        answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
        platforms = answer.stdout.strip()
    if platforms.split(",")[0] != "cpu":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs room on the same card
        return False
    if threads == 1:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    keep_memory()
    return True


def keep_memory() -> None:
    """Keeps freed memory with the process (glibc), as in a long run of equal steps.

    Else the ways that make every example's gradient spend more than half of their time, which is not their arithmetic,
    on pages that the operating system takes back and clears in each step; which others it hits depends on the order.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for setting, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (ARENA_MAX, 1)):
            library.mallopt(setting, value)


def described(on_cpu: bool, repeats: int, threads: int, peers: Sequence[str]) -> dict[str, Any]:
    """Prints and returns what the figures were measured with."""
    import jax

    names = ["jax", "jaxlib", "flax", *peers]
    record = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
    record["device"] = f"{jax.devices()[0].platform} ({jax.devices()[0].device_kind})"
    record |= {"clock": "CPU time" if on_cpu else "wall time", "repeats": repeats}
    record |= {"threads": threads} if on_cpu else {}
    print(", ".join(f"{name} {value}" for name, value in record.items()), flush=True)
    return record


def write(record: dict[str, Any], path: str | None) -> None:
    """Writes all figures to a JSON file, if one is named."""
    if path:
        from gecko_jax import files, json_values

        print(f"\nwritten: {files.write_atomic(path, json_values.dumps(record, indent=1) + chr(10))}")


def require(*modules: str) -> None:
    """Ends the program with the command that installs them if one of the peers' packages is missing."""
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)} missing: pip install 'gecko_jax[bench]', or leave the peers out with --peers=false."
        )
