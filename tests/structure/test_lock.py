"""requirements.lock serves setup.py on every Python it names. Nothing is fetched: the lock is only read."""

import pathlib
import re
import runpy
from collections import defaultdict

import pytest
import setuptools
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYTHONS = ("3.11", "3.12", "3.13")
JAX = {"3.11": "0.10.2", "3.12": "0.12.0.1", "3.13": "0.12.0.1"}


def asked():
    """The requirements of setup.py's call of setup(): its own, and those of the extra "test"."""
    with pytest.MonkeyPatch.context() as patch:
        calls = []
        patch.setattr(setuptools, "setup", lambda **options: calls.append(options))
        runpy.run_path(str(ROOT / "setup.py"))
    (options,) = calls
    return [Requirement(text) for text in options["install_requires"] + options["extras_require"]["test"]]


def locked(python):
    """name -> version on Linux with this Python."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    versions = defaultdict(list)
    for line in LOCK.splitlines():
        if match := re.match(r"([\w.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+))?", line):
            name, version, marker = match.groups()
            if marker is None or Marker(marker.strip()).evaluate(environment):
                versions[canonicalize_name(name)].append(version)
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_setup_py(python):
    versions = locked(python)
    for requirement in asked():
        pins = versions[canonicalize_name(requirement.name)]
        assert len(pins) == 1, (
            f"{requirement.name} on {python} has {len(pins)} versions in the lock; see CONTRIBUTING.md"
        )
        assert requirement.specifier.contains(pins[0], prereleases=True), f"{requirement} against {pins[0]}"
    assert all(len(pins) == 1 for pins in versions.values()), "a package has two versions on one Python"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_oldest_and_the_newest_jax_are_locked(python):
    assert locked(python)["jax"] == [JAX[python]] == locked(python)["jaxlib"]


def test_every_package_is_hashed_and_nothing_names_a_host():
    packages = re.findall(r"^[\w.-]+==.*?(?=^[\w.-]+==|\Z)", LOCK, re.MULTILINE | re.DOTALL)
    assert len(packages) > 50
    assert all("--hash=sha256:" in package for package in packages)
    assert not re.search(r"https?://|file:|--(extra-)?index|--find-links", LOCK)
