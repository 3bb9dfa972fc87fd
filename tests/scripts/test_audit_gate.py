"""scripts/audit.py as a gate: its exit status, its title, and a second audit on its page."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "audit.py"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Outputs of four models that leak, and of four that do not."""
    folder, rng = tmp_path_factory.mktemp("outputs"), np.random.default_rng(0)
    y, member, logits = rng.integers(0, 3, 300), rng.random((4, 300)) < 0.5, rng.normal(size=(4, 300, 3))
    for name, size in (("leaking", 4), ("quiet", 0)):
        outputs = logits + size * member[..., None] * np.eye(3)[y]
        np.savez(folder / f"{name}.npz", logits=outputs, y=y, member=member)
    return folder


@pytest.fixture(name="audit")
def run_audit(files, run_script):
    """(name of a file, *flags) -> how scripts/audit.py ends."""

    def audit(name, *flags):
        flags = (f"--predictions={files / name}.npz", "--attacks=lira,loss", f"--output={files / name}.json", *flags)
        return run_script("audit.py", *flags)

    return audit


def test_a_leak_ends_with_one_and_leaves_its_figures(files):
    """In a process of its own, whose status a pipeline reads."""
    flags = ("--max_tpr_at_1pct=.05", "--title=Leaking & quiet", f"--beside={files / 'quiet.npz'}")
    command = [sys.executable, str(SCRIPT), f"--predictions={files / 'leaking.npz'}", "--attacks=lira,loss", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "loss: tpr_at_1pct" in done.stderr and "not below 0.05" in done.stderr
    page = (files / "audit.html").read_text()
    assert "Leaking &amp; quiet" in page and "lira: quiet.npz" in page and "AUC: quiet.npz minus leaking.npz" in page
    assert set(json.loads((files / "audit.json").read_text())["rows"]) == {"lira", "loss"}


def test_no_leak_ends_with_zero(audit):
    done = audit("quiet", "--max_auc=.6", "--max_tpr_at_1pct=.1")
    assert done.returncode == 0, done.stderr
    assert "below every bound: auc 0.6, tpr_at_1pct 0.1" in done.stdout


def test_a_percentage_is_refused_before_work(audit):
    done = audit("missing", "--max_auc=60")
    assert done.returncode == 1 and "--max_auc=60" in done.stderr and "write auc=0.6" in done.stderr
