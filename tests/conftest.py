"""The conditions that every test runs under, set before JAX is imported: it reads them once."""

import os
import pathlib
import platform
import sys
import zlib

import numpy as np
import pytest

assert "jax" not in sys.modules, "JAX was imported before tests/conftest.py could set its devices"

ROOT = pathlib.Path(__file__).resolve().parents[1]
collect_ignore_glob = ["*/conftest.py"]  # several of one name, which --doctest-modules would import as one module

FLAGS = {
    # Four devices on the host, so that a sum over a sharded axis that is wrong on several devices is wrong here too. It
    # costs no time: a program runs on one of them unless it is told otherwise.
    "--xla_force_host_platform_device_count": 4,
    # Compiling is most of the tests' time, and LLVM's optimizations are most of that; XLA's own stay. For tests of the
    # programs just as users run them, a third slower: XLA_FLAGS=--xla_backend_optimization_level=3 scripts/test.sh.
    "--xla_backend_optimization_level": 0,
}
for flag, value in FLAGS.items():
    if flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}={value}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# [n] + [m, n] is more often a mistake than meant; an axis that is to be repeated is written out.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")


def processor() -> str:
    """A name for what this processor can execute: compiled programs do not run on any other."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = [line for line in lines if line.startswith(("flags", "Features"))]
    return f"{platform.machine()}-{zlib.crc32(''.join(features[:1]).encode()):08x}"


# Tests compile many equal programs, and compiling is most of their time: kept on disk, they halve even a first run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax" / processor()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_make_parametrize_id(config, val, argname):
    """Bytes name no test: gzip writes the time into them, and parallel workers must find tests of the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def filled():
    """(model, x) -> variables of the right shapes with normal draws: nothing is compiled, unlike model.init."""
    import jax

    def fill(model, x, seed=0):
        random = np.random.default_rng(seed)

        def draw(leaf):
            # Above zero in the batch statistics too: a variance is one.
            values = random.standard_normal(leaf.shape).astype(leaf.dtype)
            return np.abs(values) if leaf.ndim == 1 else values

        return jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), x))

    return fill
