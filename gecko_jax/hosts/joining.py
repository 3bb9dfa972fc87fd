"""How the processes of a run meet: by flags, or by what the cluster says (Slurm, Cloud TPU, Open MPI, Kubernetes)."""

from __future__ import annotations

import os
from typing import Any

import jax

from gecko_jax import checks
from gecko_jax.hosts import watchdog

HEARTBEAT_SECONDS = 40  # JAX's own limit, should the watchdog be stuck; both end a run within a minute
MEETING_SECONDS = 300


def join(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> int:
    """Joins the other processes of this run, before any device is used.

    With none of the arguments it asks the cluster that this process runs in, as `jax.distributed.initialize` does, and
    joins if that says that there are several. `num_processes=1` never joins: on a cluster, for runs by themselves. A
    program that has called `jax.distributed.initialize` has joined already.

    Args:
      coordinator: "host:port" of process 0, a free port that the others reach.
      num_processes: of the run.
      process_id: of this one, 0 to num_processes - 1.

    Returns:
      The number of processes, 1 if this one is alone.

    Raises:
      ValueError: arguments without the others, or out of range; a cluster that does not answer.
      RuntimeError: the others did not come within five minutes, or a device has been used already.

    >>> join(num_processes=1)
    1
    """
    if jax.distributed.is_initialized():
        watchdog.start()
        return jax.process_count()
    arguments = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    if num_processes is not None:
        checks.integer("num_processes", num_processes, 1)
    if num_processes == 1:
        if process_id not in (None, 0):
            raise ValueError(f"process_id={process_id} must be 0 with num_processes=1: this process is alone.")
        return 1
    explicit = all(value is not None for value in arguments.values())
    if explicit:
        checks.in_range("process_id", process_id, 0, num_processes - 1)  # pyright: ignore[reportOptionalOperand]
        if not str(coordinator).rpartition(":")[0] or not str(coordinator).rpartition(":")[2].isdigit():
            raise ValueError(f"coordinator={coordinator!r} must be host:port of process 0, such as 10.0.0.1:1234.")
    elif any(value is not None for value in arguments.values()):
        missing = ", ".join(name for name, value in arguments.items() if value is None)
        raise ValueError(
            f"{missing} missing: give coordinator, num_processes and process_id together, or none of them, and the "
            "cluster is asked (Slurm, Cloud TPU, Open MPI, an indexed Job of Kubernetes)."
        )
    elif detected_processes() <= 1:
        return 1
    options: dict[str, Any] = dict(
        initialization_timeout=MEETING_SECONDS,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=MEETING_SECONDS,
    )
    if explicit:
        options |= dict(
            coordinator_address=coordinator,
            num_processes=num_processes,
            process_id=process_id,
            cluster_detection_method="deactivate",
        )
    jax.distributed.initialize(**options)
    watchdog.start()
    return jax.process_count()


def detected_processes() -> int:
    """Returns the number of processes that the cluster says it has started; 1 without a cluster.

    Raises:
      ValueError: a cluster that JAX knows and cannot ask.
    """
    from jax._src import (
        clusters,  # what jax.distributed.initialize asks; nothing public tells whether it would find one
    )

    for cluster in clusters.ClusterEnv._cluster_types:
        # Every pod is in Kubernetes; only those of an indexed Job are numbered.
        unnumbered = cluster.__name__ == "K8sCluster" and "JOB_COMPLETION_INDEX" not in os.environ
        if cluster.opt_in_only_method or unnumbered:
            continue
        try:
            if cluster.is_env_present():
                return int(cluster.get_process_count())
        except Exception as error:  # its API, or a variable that is not a number
            raise ValueError(
                f"a cluster was found ({cluster.__name__} of JAX), but it does not say how many processes there are "
                f"({error}). Give coordinator, num_processes and process_id, or num_processes=1 if it is alone."
            ) from error
    return 1
