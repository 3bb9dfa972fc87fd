"""scripts/recommend.py and scripts/explore.py on a study that lies in a folder."""

import pytest

from gecko_jax import reports
from gecko_jax.types import Estimate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models: a small one that is less accurate."""
    folder, columns = tmp_path_factory.mktemp("study"), []
    figures = {"float": (92.0, 4800.0, 3.0), "binary": (88.5, 203.0, 1.25)}
    columns = (
        reports.Column("test", "Test accuracy", "%", 1, "high"),
        reports.Column("bytes", "Deployed", "kB", 0, "low"),
        reports.Column("lira_tpr_at_1pct", "LiRA TPR @ 1% FPR", "%", 2, "low"),
    )
    rows = tuple(
        reports.Row(name, {c.key: Estimate(v, unit=c.unit) for c, v in zip(columns, values, strict=True)})
        for name, values in figures.items()
    )
    record = {"config": {}, "seeds": [0], "timings": {}}
    reports.write_record(folder, reports.Study("Two networks", "", rows, columns, record=record))
    return folder


def test_a_model_that_fits_is_named_and_the_exit_status_is_zero(folder, run_script):
    done = run_script("recommend.py", str(folder), "--max_bytes=256kB", "--max_tpr=2%", "--budget=test=88%")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 models fits: Deployed at most 256 kB; LiRA TPR @ 1% FPR at most 2.00 %; Test" in done.stdout
    assert "Take binary: Deployed 203 kB (measured)" in done.stdout


def test_the_budget_that_fails_is_named_with_its_amount_and_one_is_returned(folder, run_script):
    done = run_script("recommend.py", str(folder / "results.csv"), "--max_bytes=200kB")
    assert done.returncode == 1
    assert "Deployed at most 200 kB: fails; binary misses it least, by 3 kB (1.5 % of it)." in done.stdout
    assert "  Deployed at most 203 kB (3 kB more) would let binary in." in done.stdout


@pytest.mark.parametrize(
    "script, flags, message",
    [
        ("recommend.py", ("--max_bytes=1",), "give one study: its folder, or its results.csv"),
        ("recommend.py", ("{}",), "no budget is given"),
        ("recommend.py", ("{}", "--budget=test"), "--budget=test must be COLUMN=LIMIT"),
        ("recommend.py", ("{}", "--max_ram=20kB"), "max_ram=20kB bounds bytes of activations"),
        ("explore.py", ("{}/nothing.csv",), "nothing.csv is not there"),
        ("explore.py", ("{}", "--output=page.json"), "must be the name of an .html file"),
    ],
)
def test_what_cannot_be_done_is_refused(folder, run_script, script, flags, message):
    done = run_script(script, *(flag.format(folder) for flag in flags))
    assert done.returncode == 1 and message in done.stderr


def test_the_page_lies_beside_the_figures(folder, run_script):
    done = run_script("explore.py", str(folder))
    assert done.returncode == 0 and f"explorer: {folder / 'explorer.html'}" in done.stdout
    assert 'id="explorer-data"' in (folder / "explorer.html").read_text(encoding="utf-8")
