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


def audit(files, name, *flags):
    command = [sys.executable, str(SCRIPT), f"--predictions={files / name}.npz", "--attacks=lira,loss", *flags]
    return subprocess.run([*command, f"--output={files / name}.json"], capture_output=True, text=True, check=False)


def test_a_leak_ends_with_one_and_leaves_its_figures(files):
    flags = ("--max_tpr_at_1pct=.05", "--title=Leaking & quiet", f"--beside={files / 'quiet.npz'}")
    done = audit(files, "leaking", *flags)
    assert done.returncode == 1 and "loss: tpr_at_1pct" in done.stderr and "not below 0.05" in done.stderr
    page = (files / "leaking.html").read_text()
    assert "Leaking &amp; quiet" in page and "lira: quiet.npz" in page and "AUC: quiet.npz minus leaking.npz" in page
    assert set(json.loads((files / "leaking.json").read_text())["rows"]) == {"lira", "loss"}


def test_no_leak_ends_with_zero(files):
    done = audit(files, "quiet", "--max_auc=.6", "--max_tpr_at_1pct=.1")
    assert done.returncode == 0, done.stderr
    assert "below every bound: auc 0.6, tpr_at_1pct 0.1" in done.stdout


def test_a_percentage_is_refused_before_work(files):
    done = audit(files, "missing", "--max_auc=60")
    assert done.returncode == 1 and "--max_auc=60" in done.stderr and "write auc=0.6" in done.stderr
