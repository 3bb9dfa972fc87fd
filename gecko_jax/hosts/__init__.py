"""Processes on several hosts that run one program: how they meet, agree, share what one of them read, and stop.

Every process runs the same lines in the same order (JAX's multi-controller model): programs over all devices wait for
all processes. Therefore whatever decides which program runs next must be the same everywhere:

    join()                     once, before any device is touched: the flags or the cluster say who is there
    check_same(what, facts)    settings, data, code, versions; a difference is refused by every process
    from_main(read)            what a file of process 0 holds, for all
    guarded                    a function that all processes run together; one that fails or dies in it stops the others

In a single process all of these cost nothing.
"""

from __future__ import annotations

from gecko_jax.hosts.exchange import broadcast, check_same, from_main
from gecko_jax.hosts.joining import join
from gecko_jax.hosts.store import count, is_main
from gecko_jax.hosts.watchdog import ProcessLost, guarded

__all__ = ["ProcessLost", "broadcast", "check_same", "count", "from_main", "guarded", "is_main", "join"]
