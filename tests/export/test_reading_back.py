"""A folder is read back as the network that its artifact computes; a changed one is refused."""

import functools
import shutil

import flax.linen as nn
import numpy as np
import pytest

from gecko_jax import export, integer, models
from gecko_jax.digests import sha256
from gecko_jax.export.folders import random_codes

EXPORTERS = {"c": export.to_c, "tflite": export.to_tflite, "onnx": export.to_onnx}


@functools.cache
def small(seed=5):
    rng = np.random.default_rng(seed)
    x, kernel = rng.normal(size=(16, 3)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    variables = {"params": {"kernel": kernel, "bias": np.ones(2, np.float32)}}
    return integer.freeze(models.from_linen(nn.Dense(2)), variables, x)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    return {form: exporter(small(), root / form) for form, exporter in EXPORTERS.items()}


@pytest.mark.parametrize("form", EXPORTERS)
def test_the_network_comes_back(folders, form):
    exported = export.read_exported(folders[form])
    assert exported.form == form and exported.digest == sha256((folders[form] / "SHA256SUMS").read_bytes())
    x = random_codes(small(), 50, 3)
    np.testing.assert_array_equal(exported.graph.run(x), small().run(x))


def test_a_network_in_c_of_another_name_comes_back(tmp_path):
    assert export.read_exported(export.to_c(small(), tmp_path, name="steering")).form == "c"


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def forge_sums(folder):
    """As a person would who changes a file and runs sha256sum again."""
    names = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{sha256((folder / name).read_bytes())}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_each_changed_missing_or_halved_file_is_refused(folders, tmp_path):
    for form, folder in folders.items():
        for number, name in enumerate(sorted(path.name for path in folder.iterdir())):
            changes = (
                (b"", (folder / name).read_bytes()[:-7], None) if name != "SHA256SUMS" else (b"", b"one line", None)
            )
            for change, content in enumerate(changes):
                changed = shutil.copytree(folder, tmp_path / f"{form}{number}{change}")
                (changed / name).unlink()
                if content is not None:
                    (changed / name).write_bytes(content)
                with pytest.raises(ValueError, match=f"{name}"):
                    export.read_exported(changed)


@pytest.mark.parametrize(("form", "name"), [("c", "model.c"), ("tflite", "model.tflite"), ("onnx", "outputs.npy")])
def test_a_changed_artifact_with_right_checksums_is_refused(folders, tmp_path, form, name):
    changed = copied(folders[form], tmp_path)
    content = bytearray((changed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (changed / name).write_bytes(content)
    forge_sums(changed)
    with pytest.raises(ValueError, match=f"^{name} of .* is not what this library writes for its network.graph"):
        export.read_exported(changed)


def test_the_network_of_another_artifact_is_refused(folders, tmp_path):
    changed = copied(folders["c"], tmp_path)
    integer.save_graph(changed / "network.graph", small(6))
    with pytest.raises(ValueError, match="network.graph is not the file that was written with the others"):
        export.read_exported(changed)
    forge_sums(changed)
    with pytest.raises(ValueError, match="model.c, model.h, test_vectors.h of .* is not what this library writes"):
        export.read_exported(changed)


def test_what_a_runtime_computes_otherwise_is_refused(tmp_path):
    with pytest.raises(ValueError, match="in the form QDQ"):
        export.read_exported(export.to_onnx(small(), tmp_path / "qdq", qdq=True))


def test_sums_name_no_file_elsewhere(folders, tmp_path):
    changed = copied(folders["c"], tmp_path)
    with open(changed / "SHA256SUMS", "a") as sums:
        sums.write(f"{sha256(b'')}  ../secret\n")
    with pytest.raises(ValueError, match="is damaged: expected lines"):
        export.read_exported(changed)
