"""Records where a run takes place: versions, device, processor, revision, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def environment() -> dict[str, Any]:
    """Returns what is needed to understand a figure later, in JSON's own types.

    The devices are JAX's own if the process has loaded JAX, otherwise None: reading a table needs no accelerator.

    Returns:
      versions {package: version or None}, device {platform, kind, count} or None, cpu {model, cores}, system,
      revision {commit, dirty} or None outside of a git checkout, date (UTC, ISO 8601).

    >>> sorted(environment())
    ['cpu', 'date', 'device', 'revision', 'system', 'versions']
    """
    from gecko_jax import __version__

    versions: dict[str, str | None] = {"python": platform.python_version(), "gecko_jax": __version__}
    versions.update({package: _version(package) for package in PACKAGES})
    return {
        "versions": versions,
        "device": _device(),
        "cpu": {"model": _cpu(), "cores": _cores()},
        "system": f"{platform.system()} {platform.machine()}",
        "revision": revision(pathlib.Path(__file__).parent),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def revision(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the git commit that a folder's files come from, and whether tracked files differ from it.

    Returns:
      {"commit": 40 hex digits, "dirty": bool}, or None without git, outside of a checkout, or if the folder's files
      are not the checkout's (an installed copy inside somebody's project).
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit or not _git(folder, "ls-files", "--", "."):
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", os.fspath(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> dict[str, Any] | None:
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    devices = jax.devices()
    return {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}


def _cpu() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use, which a container can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
