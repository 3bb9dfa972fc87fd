"""Importing the library is cheap: no backend starts, and slow packages wait for the functions that need them."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

IMPORT_ALL = """
import importlib, pathlib, sys

slow = {"tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "dp_accounting", "sklearn"}
import gecko_jax
assert not {"jax", *slow} & set(sys.modules), "import gecko_jax is to load no room"
root = pathlib.Path(gecko_jax.__file__).parents[1]
for path in sorted(root.glob("gecko_jax/**/*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    before = slow & set(sys.modules)
    importlib.import_module(name)
    loaded = (slow & set(sys.modules)) - before
    assert not loaded, f"import {name} loads {sorted(loaded)}: import it in the function that needs it"

import jax
try:
    jax.devices()
except RuntimeError:
    pass
else:
    raise AssertionError("this test sees nothing any more: JAX no longer refuses an unknown platform")
"""


def test_importing_every_module_starts_no_backend_and_loads_nothing_slow():
    # With a platform that does not exist, JAX raises as soon as anything asks for a device.
    environment = {**os.environ, "JAX_PLATFORMS": "no_such_platform", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
