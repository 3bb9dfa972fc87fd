"""A package that is not installed is named together with the command that installs it."""

import importlib.util
import pathlib
import re
import runpy

import numpy as np
import pytest
import setuptools

from gecko_jax import audit, datasets, export, extras, integer, privacy
from gecko_jax.encrypted import functional
from gecko_jax.encrypted.parameters import choose
from gecko_jax.encrypted.seal_secrets import SealSecrets
from gecko_jax.integer import nodes
from gecko_jax.reports import svg
from gecko_jax.types import Examples

ROOT = pathlib.Path(__file__).resolve().parents[1]
WINDOWS = integer.IntegerGraph(
    (nodes.IntegerTensor("input", (2, 2, 1), 1.0), nodes.IntegerTensor("pool", (1, 1, 1), 1.0)),
    (nodes.MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0))),),
    0,
    1,
)
DOORS = {
    "cryptography": lambda: privacy.aes_words()(4),
    "flatbuffers": lambda: export.to_tflite(WINDOWS, "unwritten"),
    "matplotlib": lambda: svg.figure(100),
    "mife": lambda: functional.Authority(2),
    "onnx": lambda: export.to_onnx(WINDOWS, "unwritten"),
    "sklearn": lambda: datasets.load("digits"),
    "tenseal": lambda: SealSecrets(choose(1, 4096)),
    "tensorflow_datasets": lambda: datasets.load("tfds:iris"),
    "tflite": lambda: export.to_tflite(WINDOWS, "unwritten"),
    "tokenizers": lambda: datasets.text.learn_bpe(["public text"]),
    "unicorn": lambda: export.Emulated(export.Elf((), {}, {}), "model"),
    "ziglang": lambda: export.build_elf({}),
}


def hide(monkeypatch, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))


@pytest.mark.parametrize("package", extras.EXTRAS)
def test_what_is_missing_is_named(package, monkeypatch):
    hide(monkeypatch, package)
    command = re.escape(f'needs the package {package}: pip install "gecko_jax[{extras.EXTRAS[package]}]".')
    with pytest.raises(ImportError, match=command):
        DOORS[package]()


def test_an_audit_without_scikit_learn_runs_and_warns(monkeypatch):
    hide(monkeypatch, "sklearn")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 3)), rng.integers(0, 3, (2, 40))
    report = audit.audit(lambda x: x, *(Examples(x[i], y[i], np.arange(40) + 40 * i) for i in (0, 1)))
    (warning,) = [warning for warning in report.warnings if "classifier" in warning]
    assert 'pip install "gecko_jax[sklearn]"' in warning and "auc" in report.rows["loss"]


def test_each_extra_is_declared_and_installs_its_package(monkeypatch):
    calls = []
    monkeypatch.setattr(setuptools, "setup", lambda **options: calls.append(options))
    runpy.run_path(str(ROOT / "setup.py"))
    declared = calls[0]["extras_require"]
    names = {"mife": "pymife", "sklearn": "scikit-learn"}
    for package, extra in extras.EXTRAS.items():
        assert names.get(package, package.replace("_", "-")) in declared[extra]
        assert set(declared[extra]) <= set(declared["experiments"]) <= set(declared["test"])
