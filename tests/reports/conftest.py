"""The example study and a headless browser."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def study():
    from example_study import example

    return example()


@pytest.fixture(scope="session")
def page(study):
    from gecko_jax import reports

    return reports.html(study)


@pytest.fixture(scope="session")
def chromium_program():
    """The path of a Chromium; without one the test is skipped, and fails in CI."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        reason = f"none of {', '.join(BROWSERS)} is on PATH; install the package `chromium` to look at the page in it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


@pytest.fixture
def browser(chromium_program, tmp_path):
    """Runs Chromium without a window on a file: browser(path, *flags) -> its standard output."""
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    quiet += [f"--user-data-dir={tmp_path / 'user'}"]

    def run(path: pathlib.Path, *flags: str) -> str:
        command = [chromium_program, *quiet, *flags, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, encoding="utf-8").stdout

    return run
