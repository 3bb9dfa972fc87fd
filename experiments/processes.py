"""Runs a study as one program of several processes: flags that say who they are, and what only process 0 does.

All processes train and measure the same. The first one writes the study's folder and speaks; the others write what
their measurements need in a folder of their own, which is removed, and print nothing but errors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from absl import flags as absl_flags

from experiments import flags
from gecko_jax import hosts


def add_flags(definition: flags.Definition) -> None:
    """Adds `--coordinator`, `--num_processes` and `--process_id`, which are not settings of a run.

    Args:
      definition: from `flags.define`.
    """
    settings: dict[str, Any] = {"flag_values": definition.values, "module_name": "flags"}
    of_cluster = "without it the cluster says (Slurm, Cloud TPU, Open MPI, an indexed Job of Kubernetes)"
    absl_flags.DEFINE_string("coordinator", None, f"host:port of process 0; {of_cluster}", **settings)
    absl_flags.DEFINE_integer(
        "num_processes", None, f"processes that run this study together; 1: none but this; {of_cluster}", **settings
    )
    absl_flags.DEFINE_integer("process_id", None, f"number of this process, from 0; {of_cluster}", **settings)


def join(definition: flags.Definition) -> int:
    """Joins the other processes, and returns how many there are.

    Args:
      definition: after `flags.parse`.

    Raises:
      ValueError, RuntimeError: see `hosts.join`.
    """
    values = definition.values
    return hosts.join(values["coordinator"].value, values["num_processes"].value, values["process_id"].value)


@contextlib.contextmanager
def own_output(config: Any) -> Iterator[Any]:
    """Gives every process but the first a folder of its own to write in, and silences it.

    Args:
      config: a dataclass with a field `output`.

    Yields:
      The config of this process.

    Raises:
      ValueError: processes with different settings.
    """
    settings = {name: value for name, value in flags.to_dict(config).items() if name != "output"}
    hosts.check_same("the study", {f"--{name}": value for name, value in settings.items()})
    if hosts.is_main():
        yield config
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        yield dataclasses.replace(config, output=folder)
