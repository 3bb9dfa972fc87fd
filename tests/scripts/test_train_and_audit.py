"""scripts/train.py and scripts/audit.py, called as a user calls them."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import one_model
from gecko_jax import clippings, datasets, integer, training
from gecko_jax.trees import take

ROOT = pathlib.Path(__file__).resolve().parents[2]


def call(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """In a process of its own, which imports JAX again; `run_script` runs the same in this one."""
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


def test_audit_of_a_saved_model_and_of_its_predictions_agree(saved, tmp_path, run_script):
    folder, _ = saved
    done = call("audit.py", f"--model={folder}")
    assert done.returncode == 0, done.stderr
    assert "modified_entropy" in done.stdout
    loaded, data = one_model.load(folder)
    logits = training.predict_ensemble(loaded.model, loaded.variables, data.train.x)
    np.savez(tmp_path / "outputs.npz", logits=logits, y=data.train.y, member=loaded.member)
    done = run_script("audit.py", f"--predictions={tmp_path / 'outputs.npz'}")
    assert done.returncode == 0, done.stderr
    by_model, by_file = (json.loads((p / "audit.json").read_text()) for p in (folder, tmp_path))
    assert {name: by_model["rows"][name] for name in by_file["rows"]} == by_file["rows"]
    # The model itself can be asked for more than the file of its outputs holds.
    assert set(by_model["rows"]) - set(by_file["rows"]) >= {"label_only", "small_gradient"}


def test_one_call_composes_binary_polynomial_distilled_private(tmp_path, run_script):
    """And the audit of what it saved prints the accounted epsilon beside its figures."""
    parts = ["--weights=binary", "--activation=quadratic", "--teacher=lenet", "--loss=symmetric_cross_entropy"]
    flags = ["--clipping=flat", "--epsilon=8", "--hidden=16,16", "--channels=4,4", "--epochs=2"]
    done = run_script("train.py", f"--output={tmp_path}", *parts, *flags)
    assert done.returncode == 0, done.stderr
    loaded, _ = one_model.load(tmp_path)
    assert 7.9 < loaded.privacy.epsilon.value <= 8 and loaded.privacy.epsilon.delta == 1e-4
    statement = str(loaded.privacy.epsilon)
    assert "rate 64/718, 22 steps" in statement and "one example added" in statement
    audited = run_script("audit.py", f"--model={tmp_path}")
    assert audited.returncode == 0, audited.stderr
    for printed in (done.stdout, audited.stdout):
        assert statement in printed and "WARNING: epsilon covers the student alone" in printed


def small(folder, **settings):
    """Training of a small network in this process."""
    config = one_model.Config(output=str(folder), hidden=(8,), epochs=1, batch_size=100, **settings)
    return one_model.train(config, datasets.load("digits"))


def test_a_private_teacher_is_paid_for_with_its_student(tmp_path, monkeypatch, run_script):
    """By dp_accounting alone: two runs of one noise, which together keep to the budget."""
    from dp_accounting import dp_event
    from dp_accounting.pld import pld_privacy_accountant

    calls, fit = [], training.fit_ensemble
    monkeypatch.setattr(training, "fit_ensemble", lambda *a, **options: calls.append(options) or fit(*a, **options))
    saved = small(tmp_path, clipping="automatic", epsilon=3.0, delta=1e-5, loss="kullback_leibler", teacher="mlp",
                  private_teacher=True)  # fmt: skip
    teacher, student = calls
    assert teacher["label"] == "teacher" and teacher["gradients"] is not student["gradients"]
    assert teacher["sampling"] == student["sampling"] and student["sampling"].steps == 7
    step = dp_event.GaussianDpEvent(saved.privacy.noise_multiplier)
    run = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(100 / 718, step), 7)
    accountant = pld_privacy_accountant.PLDAccountant().compose(run).compose(run)
    assert accountant.get_epsilon(1e-5) == pytest.approx(saved.privacy.epsilon.value, rel=1e-4)
    assert 2.99 < saved.privacy.epsilon.value <= 3 and saved.privacy.warning is None
    assert one_model.claim(one_model.load(tmp_path)[0]) == saved.privacy.epsilon
    audited = run_script("audit.py", f"--model={tmp_path}")
    assert audited.returncode == 0, audited.stderr
    printed = " ".join(audited.stdout.split())  # the table wraps its sentences
    for text in (f"Accounted: {saved.privacy.epsilon}", "Empirical lower bound: epsilon >= "):
        assert text in printed


def test_an_adaptive_threshold_is_not_saved(tmp_path):
    saved = small(tmp_path, clipping="quantile", noise_multiplier=0.0, optimizer="sgd")
    assert saved.privacy.epsilon.value == np.inf and "epsilon inf" in str(saved.privacy.epsilon)
    loaded, data = one_model.load(tmp_path)
    assert loaded.variables.keys() == {"params"} and loaded.privacy == saved.privacy
    assert integer.read(tmp_path / "model.packed").keys() == {"params"}
    assert training.predict_ensemble(loaded.model, loaded.variables, data.test.x).shape == (1, len(data.test.y), 10)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (dict(clipping="flat"), clippings.flat(2.0)),
        (dict(clipping="global_norm"), clippings.global_norm(2.0, 2.0)),
        (dict(clipping="global_norm", threshold=5.0), clippings.global_norm(2.0, 5.0)),
        (dict(clipping="global_adapt", threshold=5.0), clippings.global_adapt(2.0, 5.0)),
        (dict(clipping="automatic"), clippings.automatic(2.0)),
        (dict(clipping="automatic", gamma=0.5), clippings.automatic(2.0, 0.5)),
        (dict(clipping="psac", gamma=0.5), clippings.psac(2.0, 0.5)),
        (dict(clipping="per_layer"), clippings.per_layer({"^block1/.*": 2**0.5, "^logits/.*": 2**0.5})),
    ],
)
def test_flags_reach_their_rule(settings, rule):
    data = datasets.load("digits")
    config = one_model.Config(hidden=(8,), clip_norm=2.0, epsilon=1.0, **settings)
    from_flags = one_model._rule(config, one_model.network(config, 10), data)
    if rule.name != "per_layer":
        assert from_flags is rule  # the same arguments give the same object
        return
    assert from_flags.sensitivity == pytest.approx(2.0) and len(from_flags.groups) == 2
    norms = np.array([[3.0, 1.0]], np.float32)
    np.testing.assert_allclose(from_flags.scale(norms), rule.scale(norms), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(epsilon=8.0), "epsilon without clipping.*--clipping=flat"),
        (dict(private_teacher=True), "private_teacher without clipping"),
        (dict(clipping="flt", epsilon=8.0), "Did you mean 'flat'"),
        (dict(clipping="flat"), "one of the two"),
        (dict(clipping="flat", epsilon=8.0, noise_multiplier=1.0), "one of the two"),
        (dict(clipping="flat", epsilon=8.0, threshold=1.0), "threshold=1.0 is a setting of .*, not of .flat."),
        (dict(clipping="flat", epsilon=8.0, clip_norm=0.0), "clip_norm=0.0"),
        (dict(clipping="flat", epsilon=8.0, private_teacher=True), "takes a teacher"),
        (dict(norm="grup"), "Did you mean 'group'"),
    ],
)
def test_private_settings_that_do_not_go_together_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        one_model.Config(**settings)


def test_group_norm_trains_privately_where_batch_norm_is_refused(tmp_path, run_script):
    flags = ["--normalize", "--clipping=flat", "--epsilon=8", "--hidden=8", f"--output={tmp_path}"]
    batch = run_script("train.py", *flags)
    assert batch.returncode == 1 and batch.stderr.startswith("train: layers ['block1/BatchNorm_0'] keep statistics")
    assert "Traceback" not in batch.stderr
    saved = small(tmp_path / "group", clipping="flat", noise_multiplier=1.0, normalize=True, norm="group")
    assert "GroupNorm_0" in saved.variables["params"]["block1"] and saved.privacy.epsilon.value > 0


def test_errors_name_what_is_wrong(tmp_path, run_script):
    typo = run_script("train.py", "--weights=xnr")
    assert typo.returncode != 0 and "Did you mean 'xnor'" in typo.stderr
    lonely = run_script("train.py", "--loss=kullback_leibler")
    assert lonely.returncode != 0 and "teacher" in lonely.stderr
    nothing = run_script("audit.py", f"--model={tmp_path}")
    assert nothing.returncode != 0 and "holds no saved model" in nothing.stderr
    empty = run_script("audit.py", "--model=")
    assert empty.returncode != 0 and "give either --model=FOLDER" in empty.stdout + empty.stderr
    assert "Traceback" not in typo.stderr + lonely.stderr + nothing.stderr + empty.stderr


def test_a_private_run_has_a_known_seed_only_if_it_is_given_one(tmp_path):
    """Two runs of the same flags share no noise, unless a seed is given; without privacy none means 0."""
    private = dict(clipping="flat", noise_multiplier=1.0)
    runs = {
        name: small(tmp_path / name, **settings)
        for name, settings in {
            "first": private, "second": private, "given": private | {"seed": 0}, "again": private | {"seed": 0},
            "plain": {}, "zero": {"seed": 0},
        }.items()
    }  # fmt: skip
    weights = {name: np.asarray(run.variables["params"]["logits"]["kernel"]) for name, run in runs.items()}
    assert not np.array_equal(weights["first"], weights["second"])
    assert not np.array_equal(weights["first"], weights["given"])
    np.testing.assert_array_equal(weights["given"], weights["again"])
    np.testing.assert_array_equal(weights["plain"], weights["zero"])
    assert (tmp_path / "first" / "checkpoints" / "model" / "secret_seed").stat().st_mode & 0o777 == 0o600
