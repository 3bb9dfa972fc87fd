"""scripts/train.py and scripts/audit.py, called as a user calls them."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import one_model
from gecko_jax import datasets, integer, training
from gecko_jax.trees import take

ROOT = pathlib.Path(__file__).resolve().parents[2]


def call(script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # as the editable installation has it
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "xnor"
    flags = ["--weights=xnor", "--inputs=xnor_input", "--order=xnor", "--hidden=16,16", "--epochs=2", "--models=3"]
    done = call("train.py", f"--output={folder}", *flags)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_saved_model_comes_back(saved):
    folder, printed = saved
    loaded, data = one_model.load(folder)
    logits = training.predict_ensemble(loaded.model, loaded.variables, data.test.x)
    accuracy = 100 * (logits[0].argmax(-1) == data.test.y).mean()
    assert f"{accuracy:.2f}" in printed
    np.testing.assert_array_equal(loaded.member, datasets.coins(data.train.id, 3, 0, 0.5))


def test_the_packed_file_is_the_first_model(saved):
    folder, _ = saved
    loaded, data = one_model.load(folder)
    shipped = integer.read(folder / "model.packed")
    bare = one_model.network(loaded.config.__class__(hidden=(16, 16), order="xnor", inputs="xnor_input"), 10)
    expected = training.predict(loaded.model, take(loaded.variables, 0), data.test.x)
    np.testing.assert_allclose(training.predict(bare, shipped, data.test.x), expected, rtol=1e-5, atol=1e-5)


def test_audit_of_a_saved_model_and_of_its_predictions_agree(saved, tmp_path):
    folder, _ = saved
    done = call("audit.py", f"--model={folder}")
    assert done.returncode == 0, done.stderr
    assert "modified_entropy" in done.stdout
    loaded, data = one_model.load(folder)
    logits = training.predict_ensemble(loaded.model, loaded.variables, data.train.x)
    np.savez(tmp_path / "outputs.npz", logits=logits, y=data.train.y, member=loaded.member)
    done = call("audit.py", f"--predictions={tmp_path / 'outputs.npz'}")
    assert done.returncode == 0, done.stderr
    by_model, by_file = (json.loads((p / "audit.json").read_text()) for p in (folder, tmp_path))
    assert by_model["rows"] == by_file["rows"]


def test_errors_name_what_is_wrong(tmp_path):
    typo = call("train.py", "--weights=xnr")
    assert typo.returncode != 0 and "Did you mean 'xnor'" in typo.stderr
    lonely = call("train.py", "--loss=kullback_leibler")
    assert lonely.returncode != 0 and "teacher" in lonely.stderr
    nothing = call("audit.py", f"--model={tmp_path}")
    assert nothing.returncode != 0 and "scripts/train.py writes one" in nothing.stderr
    assert "Traceback" not in typo.stderr + lonely.stderr + nothing.stderr
