"""The conditions that every test runs under, set before JAX is imported: it reads them once."""

import os
import pathlib
import sys

assert "jax" not in sys.modules, "JAX was imported before tests/conftest.py could set its devices"

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Four devices on the host, so that a sum over a sharded axis that is wrong on several devices is wrong here too.
DEVICES = "--xla_force_host_platform_device_count"
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}=4".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# [n] + [m, n] is more often a mistake than meant; an axis that is to be repeated is written out.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
