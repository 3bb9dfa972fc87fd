"""The example study and a headless browser."""

from __future__ import annotations

import os
import pathlib
import shutil
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


@pytest.fixture(scope="session")
def tab(chromium_program, tmp_path_factory):
    """A tab of one Chromium, which starts once for all tests."""
    from chrome_pipe import chromium

    with chromium(chromium_program, tmp_path_factory.mktemp("browser")) as tab:
        yield tab
