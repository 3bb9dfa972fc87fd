"""The sdist is complete; the wheel built from it holds the library alone and can be imported. Needs no network."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import gecko_jax

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOT_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(kind, source, folder):
    """A distribution that setuptools builds from a folder, as pip would do without isolation."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD, f"build_{kind}", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the unpacked sdist of a copy of the checkout, whose folder it leaves as it is."""
    folder = tmp_path_factory.mktemp("packaging")
    copy = folder / "copy"
    shutil.copytree(ROOT / "gecko_jax", copy / "gecko_jax", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*ROOT_FILES, "CITATION.cff"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("experiments", "scripts"):  # which no distribution may hold
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    with tarfile.open(build("sdist", copy, folder)) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (unpacked,) = (folder / "sdist").iterdir()
    assert (unpacked / "CITATION.cff").is_file() and (unpacked / "CHANGELOG.md").is_file()
    return build("wheel", unpacked, folder)


def test_the_wheel_holds_the_library_alone(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gecko_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources and "gecko_jax/py.typed" in names


def test_the_metadata_are_complete(wheel):
    archive = zipfile.ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(archive.read(path))
    assert metadata["Version"] == gecko_jax.__version__ and wheel.name.startswith(f"gecko_jax-{gecko_jax.__version__}-")
    assert metadata["License"] == "Apache-2.0" and metadata["Requires-Python"] == ">=3.11"
    assert all(metadata[name] for name in ("Author", "Summary", "Keywords", "Project-URL"))
    assert "Programming Language :: Python :: 3.13" in metadata.get_all("Classifier")
    assert metadata.get_payload().startswith("# gecko_jax")
    required = {re.match(r"[\w.-]+", text)[0] for text in metadata.get_all("Requires-Dist") if "extra ==" not in text}
    base = {"absl-py", "dp-accounting", "flax", "jax", "numpy", "optax", "orbax-checkpoint", "scipy"}
    assert required == base


def test_an_installed_wheel_is_imported(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    check = "import gecko_jax; from gecko_jax import checks, extras; print(gecko_jax.__version__, gecko_jax.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [gecko_jax.__version__, str(tmp_path / "site" / "gecko_jax" / "__init__.py")]


def test_the_version_has_one_place():
    for name in ("setup.py", "pyproject.toml", "CITATION.cff", "README.md"):
        assert gecko_jax.__version__ not in (ROOT / name).read_text(encoding="utf-8")
