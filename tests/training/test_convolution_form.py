"""The form of convolutions in an ensemble on an accelerator: measured once, remembered, and kept for a run's life.

Programs are lowered for CUDA and read, and the choice runs with a stand-in for a device: there is not one here.
"""

import json
import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import lax
from naive_training import assert_same_bits, starts_of

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.training import convolution_form
from gecko_jax.training.convolution_form import Example, faster, remembered, traced_gradient, with_form
from gecko_jax.training.layout import CONVOLUTIONS, WINDOWS, Layout
from gecko_jax.training.step import UpdateRule
from gecko_jax.types import Batch

TX = training.optimizer("momentum", 0.1)
WIDTH, ROWS = 3, 4
ROUND = Layout(WIDTH, 1, scan=True, matmul=False)


class Separable(nn.Module):
    """A depthwise convolution between two plain ones."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=4)(x))
        return nn.Dense(10)(nn.Conv(2, (1, 1))(x).reshape(len(x), -1))


class Raw(nn.Module):
    """A convolution that is not a layer's."""

    @nn.compact
    def __call__(self, x):
        x = lax.conv(nn.Conv(2, (1, 1))(x), self.param("kernel", nn.initializers.ones, (8, 8, 3, 3)), (1, 1), "SAME")
        return nn.Dense(10)(x.reshape(len(x), -1))


SEPARABLE = models.from_linen(Separable())
EXAMPLE = Batch(
    *(jax.ShapeDtypeStruct((ROWS, *s), d) for s, d in (((8, 8, 1), "float32"), ((), "int32"), ((), "float32")))
)


def case_of(model, private=False):
    loss = losses.cross_entropy()
    gradients = training.batch_gradients(model, loss)
    if private:
        example_loss = privacy.example_loss(model, loss)
        gradients = privacy.private_gradients(example_loss, clippings.flat(1.0), 1.0, expected_batch_size=ROWS)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 1), np.float32))
    return UpdateRule(model, gradients, TX, None), Example(shapes, EXAMPLE, False)


def convolutions_for_cuda(form, private=False):
    """Groups of each convolution in the gradient of the ensemble, as it is lowered for an NVIDIA card."""
    traced = traced_gradient(ROUND._replace(form=form), *case_of(SEPARABLE, private))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.dot_general" in text
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    return [max(int(count) for count in re.findall(r"group_count = (\d+)", line)) for line in lines]


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A device with a memory of its own for answers; returns what it measures, and how often it was asked."""
    state = {"seconds": {CONVOLUTIONS: 2.0, WINDOWS: 1.0}, "asked": 0}

    def measure(lowered, arguments):
        state["asked"] += 1
        assert list(lowered) == [CONVOLUTIONS, WINDOWS]
        return state["seconds"]

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(convolution_form, "faster", measure)
    monkeypatch.setattr(convolution_form, "_ANSWERS", {})
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    yield state
    jax.config.update("jax_compilation_cache_dir", before)


def test_windows_leave_no_convolution_in_the_program_of_an_ensemble():
    assert {WIDTH, 4 * WIDTH} <= set(convolutions_for_cuda(CONVOLUTIONS))  # plain ones, and the depthwise one
    assert convolutions_for_cuda(WINDOWS) == []
    assert convolutions_for_cuda(WINDOWS, private=True) == []


def test_the_faster_form_is_measured_once_and_remembered_on_disk(card, tmp_path):
    assert with_form(ROUND, *case_of(SEPARABLE), None).form == WINDOWS and card["asked"] == 1
    [path] = (tmp_path / "cache" / "gecko_jax").iterdir()
    stored = json.loads(path.read_text())
    question = {name: stored.pop(name) for name in ("device", "jax", "models", "program")}
    assert stored == {"form": WINDOWS, "seconds": {CONVOLUTIONS: 2, WINDOWS: 1}}
    assert question | {"program": ""} == {"device": "cpu", "jax": jax.__version__, "models": WIDTH, "program": ""}
    asked = []

    def answer(**changed):
        convolution_form._ANSWERS.clear()  # as another process
        return remembered(question | changed, lambda: asked.append(changed) or {CONVOLUTIONS: 1.0, WINDOWS: 1.0})

    assert answer() == WINDOWS and not asked
    for changed in ({"device": "another card"}, {"jax": "0.9"}, {"models": 4}, {"program": "of other shapes"}):
        assert answer(**changed) == answer(**changed) == CONVOLUTIONS  # a tie does not choose windows
        assert asked.pop() == changed and not asked
    path.write_text("{")
    assert answer() == CONVOLUTIONS and asked == [{}]
    assert json.loads(path.read_text())["form"] == CONVOLUTIONS


def test_there_is_no_choice_for_one_model_for_dense_layers_and_on_a_cpu(card, monkeypatch):
    rule, example = case_of(SEPARABLE)
    assert with_form(ROUND._replace(width=1), rule, example, None).form == CONVOLUTIONS
    assert with_form(ROUND._replace(devices=WIDTH), rule, example, None).form == CONVOLUTIONS
    dense = models.create("mlp", 10, hidden=(4,))
    for model in (dense, models.from_linen(Raw())):  # windows would leave a convolution with groups
        assert with_form(ROUND, *case_of(model), None).form == CONVOLUTIONS
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert with_form(ROUND, rule, example, None) == ROUND and card["asked"] == 0


def test_an_answer_without_a_cache_stays_with_the_process_and_one_that_cannot_be_written_is_told(card, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (None, "gs://bucket", str(tmp_path / "file")):
        jax.config.update("jax_compilation_cache_dir", folder)
        asked, question, answer = [], {"folder": folder}, {CONVOLUTIONS: 2.0, WINDOWS: 1.0}
        ask = lambda: asked.append(1) or answer  # noqa: B023, E731
        if folder and folder.startswith("/"):
            with pytest.warns(UserWarning, match="form of convolutions is not kept, and measured again next time"):
                remembered(question, ask)
        assert [remembered(question, ask), remembered(question, ask)] == [WINDOWS] * 2 and len(asked) == 1


class Program:
    """A program that takes seconds of its own, or does not fit; its own lowering and its own executable."""

    def __init__(self, now, seconds):
        self.now, self.seconds = now, list(seconds)

    def compile(self):
        return self

    def __call__(self, *arguments):
        step = self.seconds.pop(0)
        if isinstance(step, str):
            raise jax.errors.JaxRuntimeError(step)
        self.now[0] += step


def test_forms_are_timed_by_turns_and_the_fastest_run_counts():
    def timed(convolutions, windows):
        now = [0.0]
        forms = {CONVOLUTIONS: Program(now, convolutions), WINDOWS: Program(now, windows)}
        return faster(forms, (), lambda: now[0])

    assert timed((9, 3, 1, 2), (9, 4, 5, 6)) == {CONVOLUTIONS: 1, WINDOWS: 4}  # the first run is not timed
    assert timed((9, 3, 1, 2), ("RESOURCE_EXHAUSTED: no room",)) == {CONVOLUTIONS: 1, WINDOWS: float("inf")}
    for broken in (((9, 3, 1, 2), ("INTERNAL",)), (("RESOURCE_EXHAUSTED",), ())):
        with pytest.raises(jax.errors.JaxRuntimeError):
            timed(*broken)


def test_a_run_keeps_its_form_though_another_one_became_faster(card, images, tmp_path, monkeypatch):
    member = np.ones((2, 60), bool)
    options = dict(optimizer=TX, batch_size=20, init=starts_of(SEPARABLE, images.x, 2))

    def run(folder, **more):
        convolution_form._ANSWERS.clear()  # as another process
        return training.fit_ensemble(SEPARABLE, images, member, folder=folder, **options, **more)

    class Killed(Exception):
        pass

    def kill(epoch, variables):
        if epoch == 2:
            raise Killed

    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0)
    trained = run(tmp_path / "complete", epochs=2)
    assert json.loads((tmp_path / "complete" / "run.json").read_text())["form of convolutions"] == WINDOWS
    with pytest.raises(Killed):
        run(tmp_path / "killed", epochs=2, observe=kill)
    card["seconds"] = {CONVOLUTIONS: 1.0, WINDOWS: 2.0}
    for path in (tmp_path / "cache" / "gecko_jax").iterdir():
        path.unlink()
    assert_same_bits(run(tmp_path / "killed", epochs=2), trained)
    assert card["asked"] == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(ValueError, match="form of convolutions was 'windows', is None"):
        run(tmp_path / "complete", epochs=2)
