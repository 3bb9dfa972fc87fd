"""README says what is there: its example runs, its rooms and commands exist, its figures are a run's own."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_examples_run_and_find_the_leak(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(compile(block, "README.md", "exec"), names)
    output = capsys.readouterr().out
    assert "Of 100 training records" in output and (tmp_path / "audit.html").exists()
    thresholds, lira = (names["report"].rows[name]["tpr_at_1pct"] for name in ("modified_entropy", "lira_student"))
    assert thresholds.high < 0.02 < 0.04 < lira.low  # "1 %" and "6 %"
    assert "energy (modeled)" in output and ", modeled: one example added or removed" in output
    assert float(names["run"].epsilon) <= 8


def test_the_map_names_every_room_and_no_other():
    (table,) = re.findall(r"\| room \|.*?\n\n", README, re.S)
    named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    package = ROOT / "gecko_jax"
    there = {path.parent.name for path in package.glob("*/__init__.py")}
    there |= {path.stem for path in package.glob("*.py") if path.stem != "__init__"}
    assert named == there


def test_files_and_commands_it_names_exist():
    for path in re.findall(r"(?:scripts/[a-z_]+\.(?:sh|py)|experiments/[a-z_/]+\.\w+|[A-Z]+\.md)", README):
        assert (ROOT / path).exists(), path


def test_it_is_short():
    assert len(README.splitlines()) <= 110
