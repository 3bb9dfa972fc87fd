"""The conditions that every test runs under, set before JAX is imported: it reads them once."""

import contextlib
import copy
import gc
import importlib.metadata
import io
import os
import pathlib
import platform
import runpy
import subprocess
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
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # Its new emitters double the time of compiling; later versions know no others, and no such flag. Who tests the
    # programs just as users run them adds --xla_cpu_use_fusion_emitters=true as well.
    FLAGS["--xla_cpu_use_fusion_emitters"] = "false"
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

# Tracing allocates by the million what lives on: at Python's 700, looking for cycles is a twentieth of all tests' time.
gc.set_threshold(50_000, 20, 50)


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


@contextlib.contextmanager
def _own_flags():
    """absl's global flags as a new process has them: without those that scripts have defined in this one."""
    from absl import app
    from absl.flags import FLAGS

    app.define_help_flags()  # once in a process
    before = {name: copy.deepcopy(value, {id(flag): flag for flag in map(FLAGS.__getitem__, FLAGS)})
              for name, value in vars(FLAGS).items()}  # fmt: skip
    for module, defined in list(FLAGS.flags_by_module_dict().items()):
        for flag in list(defined) if module.startswith("scripts.") else []:
            delattr(FLAGS, flag.name)
    try:
        yield
    finally:
        FLAGS.unparse_flags()
        vars(FLAGS).clear()
        vars(FLAGS).update(before)
        FLAGS.unparse_flags()


@pytest.fixture(scope="session")
def run_script():
    """(script below scripts/, *arguments) -> what its process would end with, run in this one, which has JAX loaded.

    An error that a process would show as a traceback is raised.
    """

    def run(script, *arguments):
        path, output, errors, code = ROOT / "scripts" / script, io.StringIO(), io.StringIO(), None
        with pytest.MonkeyPatch.context() as patch, _own_flags():
            patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                try:
                    runpy.run_path(str(path), run_name="__main__")
                except SystemExit as end:
                    code = end.code
        if isinstance(code, str):  # as the interpreter does at the end
            errors.write(f"{code}\n")
            code = 1
        return subprocess.CompletedProcess(sys.argv, code or 0, output.getvalue(), errors.getvalue())

    return run
