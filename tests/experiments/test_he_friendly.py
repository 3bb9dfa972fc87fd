"""The study of HE-friendly training from flags to page, small; its ingredients; and the images that it refuses."""

from __future__ import annotations

import csv
import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.he_friendly import data, imitation, measure, run, train
from experiments.he_friendly.config import PRESETS, Config
from experiments.he_friendly.deep import ApproxMinMaxNorm, Deep
from experiments.he_friendly.methods import METHODS
from gecko_jax import losses, models, reports
from gecko_jax.types import Batch

HOME = pathlib.Path(run.__file__).parent
TINY = dict(network="mlp", hidden="8", models=2, epochs=3, transition="0.1,0.6", batch_size=256, samples=20)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("he_friendly")
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    run.main(["run", f"--output={folder}", "--tables=recipe,encrypted", "--recipe=teacher,square,student", *flags])
    return folder


def test_gaps_are_the_teachers_figure_minus_the_rows(finished):
    study = reports.read_record(finished / "recipe", complete=True)
    names = [METHODS[name].label for name in ("teacher", "square", "student")]
    assert [row.name for row in study.rows] == names
    teacher = study.rows[0].figures
    assert "gap" not in teacher
    for row in study.rows[1:]:
        assert row.figures["gap"].value == pytest.approx(teacher["f1"].value - row.figures["f1"].value)
        assert row.figures["f1"].n == 2 and set(row.figures) == {column.key for column in measure.COLUMNS}
    assert "0.32 to 5.3 %" in study.notes.footnotes[0]


def test_a_server_without_a_key_predicts_what_the_network_does(finished):
    (row,) = reports.read_record(finished / "encrypted", complete=True).rows
    figures = row.figures
    assert row.name == METHODS["student"].label and figures["same"].value == 100
    assert figures["error"].value < 1e-3 * figures["logit"].value and figures["predicted"].kind == "modeled"
    page = (finished / "encrypted" / "report.html").read_text()
    assert "by a server that holds no key that decrypts" in page


def deep(depth=2, **options):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    model = models.from_linen(Deep(4, depth, 6, **{"activation": "square", "norm": "none", **options}))
    return model, model.init(jax.random.key(1), x), x


def test_ranges_are_those_of_a_naive_pass():
    model, variables, x = deep()
    ranges = measure.activation_ranges(model).apply(variables, x)[0]
    value, largest = np.asarray(x, np.float64), []
    for layer in ("Dense_0", "Dense_1"):
        value = value @ np.asarray(variables["params"][layer]["kernel"], np.float64)
        largest.append(np.abs(value).max(1))
        value = value**2
    np.testing.assert_allclose(ranges, np.stack(largest, 1), rtol=1e-5)


@pytest.mark.parametrize("stage", [0, 1])
def test_imitation_trains_one_layer_at_a_time(stage):
    model, variables, x = deep(depth=2)
    staged, teacher = imitation.imitating(model), imitation.hidden(model)
    outputs = teacher.apply(variables, x)[0]
    assert [each.shape for each in outputs] == [(5, 6), (5, 6)]
    example = Batch(None, None, None, {"hidden": tuple(1 + each for each in outputs)})

    def loss(params):
        answers = staged.apply({"params": params, "stage": {"layer": jnp.float32(stage)}}, x)[0]
        for ours, theirs in zip(answers, outputs, strict=True):
            np.testing.assert_allclose(jax.lax.stop_gradient(ours), theirs, rtol=1e-6)
        return imitation.imitation_loss().apply(answers, example)

    value, gradients = jax.value_and_grad(loss)(variables["params"])
    assert float(value) == pytest.approx(2.0, rel=1e-5)  # each layer is 1 away from its teacher
    moved = {name for name, each in gradients.items() if np.any(each["kernel"])}
    assert moved == {f"Dense_{stage}"}


@pytest.mark.parametrize(("stage", "trained"), [(1, {"logits"}), (0, {"logits", "Dense_1"})])
def test_fine_tuning_goes_from_the_last_layer_down(stage, trained):
    model, variables, x = deep(depth=2)
    staged = imitation.fine_tuning(model)

    def loss(params):
        answers = staged.apply({"params": params, "stage": {"layer": jnp.float32(stage)}}, x)[0]
        np.testing.assert_allclose(jax.lax.stop_gradient(answers), model.apply(variables, x)[0], rtol=1e-6)
        return jnp.sum(answers**2)

    gradients = jax.grad(loss)(variables["params"])
    assert {name for name, each in gradients.items() if np.any(each["kernel"])} == trained


def test_schedules_of_imitation_visit_every_layer_in_order():
    shares = np.arange(40) / 40
    assert [imitation.upwards(4)(share) for share in shares] == [float(i // 10) for i in range(40)]
    stages = [imitation.downwards(4)(share) for share in shares]
    assert sorted(set(stages), reverse=True) == [3, 2, 1, 0, -1] and stages == sorted(stages, reverse=True)


def test_the_norm_of_ranges_is_numpys():
    x = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
    module = ApproxMinMaxNorm()
    start = {"batch_stats": {"low": np.full(3, -1, np.float32), "high": np.full(3, 1, np.float32)}}
    y, updates = module.apply(start, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, 2 * (x - x.min(0)) / (x.max(0) - x.min(0)) - 1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["low"], -0.9 + 0.1 * x.min(0), rtol=1e-5)
    np.testing.assert_allclose(module.apply(start, x), x, rtol=1e-6)  # of the range -1..1


def test_a_row_that_fails_says_where():
    config, images = Config(models=2), data.three_classes((60, 30), side=8)
    model = train.network_of(dataclasses.replace(config, network="mlp", hidden=(2,)), images)(METHODS["teacher"])
    several = jax.vmap(lambda key: model.init(key, images.train.x[:1]))(jax.random.split(jax.random.key(0), 2))
    rows = {
        "teacher": train.Trained("teacher", model, several, np.ones((1, 2))),
        "square": train.Trained("square", model, None, np.zeros((0, 2)), "model 1 is not finite at epoch 0"),
    }
    study = measure.study(config, "t", "", [measure.Group("12 layers", rows)], images)
    assert not study.rows[1].figures and study.rows[1].note.endswith("model 1 is not finite at epoch 0")


def test_an_answer_that_is_not_finite_counts_as_wrong(monkeypatch):
    logits = np.eye(3)[[0, 1, 2]][None].repeat(2, 0)
    logits[0, 1] = np.nan
    monkeypatch.setattr(train.training, "predict_ensemble", lambda *arguments: logits)
    answers = measure._answers(train.Trained("student", None, {}, None), None, np.array([0, 1, 2]))
    assert answers.argmax(-1).tolist() == [[0, 2, 2], [0, 1, 2]]


def test_rare_classes_count_more_if_asked():
    images = data.three_classes((200, 50), side=8)
    config = Config(class_weights="balanced")
    weights = losses.balanced_class_weights(images.train.y, 3)
    assert weights[2] > 5 * weights[1] > 5 * weights[0]
    student, control = (train._loss(config, METHODS[name], images) for name in ("student", "unweighted"))
    assert student is losses.kullback_leibler(10.0, 0.1, label_weight=1.0, class_weights=weights)
    assert control is losses.kullback_leibler(10.0, 0.1, label_weight=1.0)
    assert train._loss(config, METHODS["teacher"], images) is losses.cross_entropy(weights)


def test_the_made_set_has_three_unbalanced_classes():
    images = data.load("three_classes")
    assert images.train.x.shape == (3000, 28, 28, 1) and images.num_classes == 3
    assert np.bincount(images.train.y).tolist() == [1740, 1140, 120] and np.bincount(images.test.y).tolist() == [
        580,
        380,
        40,
    ]
    assert images.train.x.min() >= 0 and images.train.x.max() <= 1
    np.testing.assert_array_equal(data.three_classes().test.x, images.test.x)
    sums = images.train.x.sum((1, 2, 3))
    assert sums[images.train.y == 1].mean() > sums[images.train.y == 0].mean() + 10  # the patch


def test_images_of_your_own(tmp_path):
    """An .npz file and a folder of one's own go through the same door."""
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 8, 8)), np.arange(30) % 3
    np.savez(tmp_path / "scans.npz", x=x, y=y)
    assert data.load(str(tmp_path / "scans.npz")).train.x.shape == (24, 8, 8, 1)
    for i in range(9):
        (tmp_path / "folder" / f"class {i % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7), np.uint8)).save(
            tmp_path / "folder" / f"class {i % 3}" / f"{i}.png"
        )
    assert data.load(str(tmp_path / "folder"), side=8).train.x.shape == (8, 8, 8, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(x=np.full((10, 8, 8), 255.0), y=np.arange(10) % 2), r"holds x in 255..255; expected 0..1.*by 255"),
        (dict(x=np.ones((10, 64)), y=np.arange(10) % 2), r"holds x of shape \(8, 64\); expected images"),
        (dict(x=np.ones((10, 8, 8)), z=np.arange(10)), "holds the arrays x, z; expected x and y"),
        (dict(x=np.ones((10, 8, 8)), y=np.array([0, 2] * 5)), "yet not 1"),
    ],
)
def test_other_arrays_than_images_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "scans.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load(str(tmp_path / "scans.npz"))


def test_a_path_that_is_not_there_is_refused_with_what_is_known(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        data.load("digit")
    with pytest.raises(ValueError, match="nowhere.*is not known.*<folder of images>"):
        data.load(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        data.load(str(tmp_path / "nowhere.npz"))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_network(name):
    """Shapes alone: nothing is computed."""
    method, images = METHODS[name], data.three_classes((20, 10), side=8)
    builders = [train.deep_network_of(Config(activation_rate=0.5), images, 3)]
    if method.norm != "min_max":
        builders += [train.network_of(Config(network=network), images) for network in ("lenet", "mlp")]
    for build in builders:
        model = build(method)
        shapes = jax.eval_shape(model.init, jax.random.key(0), images.train.x[:1])
        assert jax.eval_shape(model.apply, shapes, images.train.x[:2])[0].shape == (2, 3)


@pytest.mark.parametrize("path", sorted((HOME / "expected").glob("*.csv")), ids=lambda path: path.name)
def test_an_expected_table_is_of_its_preset(path):
    preset, _, table = path.stem.rpartition("_")
    config = PRESETS[preset]
    assert table in config.tables
    with path.open() as file:
        names = {line["row"] for line in csv.DictReader(file)}
    labels = {
        "recipe": [METHODS[name].label for name in config.recipe],
        "leak": [METHODS[name].label for name in config.leak_rows],
        "encrypted": [METHODS["student"].label],
        "depth": [f"{depth} layers: {METHODS[name].label}" for depth in config.depths for name in config.depth_rows],
    }[table]
    assert names <= set(labels) and METHODS["student"].label in {name.rpartition(": ")[2] for name in names}


def test_alexnet_is_a_network_of_the_study():
    images = data.three_classes((20, 10), side=64)
    config = Config(network="alexnet", channels=(4, 4, 4, 4, 4), hidden=(8, 8))
    for name in ("teacher", "student"):
        model = train.network_of(config, images)(METHODS[name])
        shapes = jax.eval_shape(model.init, jax.random.key(0), images.train.x[:1])
        assert len([path for path in shapes["params"] if path.startswith("block") or path == "logits"]) == 8
        assert jax.eval_shape(model.apply, shapes, images.train.x[:2])[0].shape == (2, 3)
