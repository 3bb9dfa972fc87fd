"""Exits, which of them answers, and splits, against the network computed by hand."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.models.early_exit import exits_of
from gecko_jax.types import Batch, Examples

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
NET = models.create("mlp", 3, hidden=(8, 7))
EXITS = models.multi_exit(NET, r"^block\d$")


@pytest.fixture
def variables(filled):
    return filled(EXITS, X)


def by_hand(params, x):
    """The logits of both exits and of the network, in float64."""
    answers = []
    for i in (1, 2):
        inner = params[f"dense{i}"]
        x = np.maximum(x.astype(np.float64) @ inner["kernel"] + inner["bias"], 0)
        head = params["exits"][f"block{i}"]["logits"]
        answers.append(x @ head["kernel"] + head["bias"])
    return np.stack([*answers, x @ params["logits"]["kernel"] + params["logits"]["bias"]], 1)


def test_each_exit_reads_its_module_and_the_network_stays_the_same(variables):
    outputs, updates = EXITS.apply(variables, X)
    assert updates == {} and models.exit_paths(EXITS, variables, X) == ("block1", "block2")
    np.testing.assert_allclose(outputs["exits"], by_hand(variables["params"], X), rtol=1e-4, atol=1e-4)
    alone = {"params": {name: tree for name, tree in variables["params"].items() if name != "exits"}}
    np.testing.assert_array_equal(outputs["exits"][:, -1], NET.apply(alone, X)[0])


def test_the_first_sure_exit_answers(variables):
    exits = np.asarray(EXITS.apply(variables, X)[0]["exits"])
    np.testing.assert_array_equal(models.early_exit(EXITS, 0.9).apply(variables, X)[0], models.answers(exits, 0.9)[0])
    exits = np.random.default_rng(2).normal(size=(2, 30, 3, 4)) * 3
    for threshold in (0.3, 0.9, 1.0):
        logits, numbers = (np.asarray(part) for part in models.answers(exits, threshold))
        sure = special.softmax(exits, -1).max(-1) >= threshold
        expected = [[min([*np.flatnonzero(row), 2]) for row in rows] for rows in sure]
        np.testing.assert_array_equal(numbers, expected)
        np.testing.assert_allclose(logits, np.take_along_axis(exits, numbers[..., None, None], 2)[:, :, 0], rtol=1e-6)


def test_images_are_averaged_in_windows(filled):
    x = np.random.default_rng(1).normal(size=(2, 11, 13, 1)).astype(np.float32)
    net = models.create("lenet", 3, channels=(4, 5), hidden=6)
    model = models.multi_exit(net, "^block1$", positions=4)
    variables = filled(model, x)
    seen = models.split(net, "block1", x).head.apply(variables, x)[0]  # 9 x 11: windows of 2, which leave 4 x 5
    assert seen.shape == (2, 9, 11, 4)
    averaged = np.asarray(seen)[:, :8, :10].reshape(2, 4, 2, 5, 2, 4).mean((2, 4)).reshape(2, -1)
    head = variables["params"]["exits"]["block1"]["logits"]
    expected = averaged @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(model.apply(variables, x)[0]["exits"][:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "paths", "features"),
    [  # windows of a quarter of the side: 4 x 4 of them, or 2 x 2 where the side is 2
        ("vgg11", r"block[36]$", {"block3": 4 * 4 * 64, "block6": 2 * 2 * 128}),
        ("resnet20", r"stage[12]_residual3$", {"stage1_residual3": 4 * 4 * 4, "stage2_residual3": 4 * 4 * 8}),
    ],
)
def test_architectures_get_exits_by_their_paths(name, paths, features):
    model = models.multi_exit(models.create(name, 10, width=0.25), paths)
    x = np.zeros((2, 32, 32, 3), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    heads = {path: head["logits"]["kernel"].shape for path, head in variables["params"]["exits"].items()}
    assert heads == {path: (size, 10) for path, size in features.items()}
    assert models.exit_paths(model, variables, x) == tuple(features)


def test_the_part_up_to_an_exit_computes_no_more(variables):
    logits = EXITS.apply(variables, X)[0]["exits"]
    for number in range(3):
        part = models.until_exit(EXITS, variables, X, number)
        np.testing.assert_array_equal(part.apply(variables, X)[0]["exits"], logits[:, : number + 1])
        paths = [call.path for call in models.trace(part, variables, X)]
        assert len(paths) == [2, 4, 5][number] and ("logits" in paths) == (number == 2)


def test_it_is_trained_jointly_quantized_and_privately(tmp_path, variables):
    data = Examples(X, np.array([0, 1, 2, 0, 1, 2]))
    loss = losses.over_exits()
    fitted = training.fit(models.early_exit(EXITS, 0.8), data, loss=loss, epochs=2, seed=1, init=variables)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), fitted.variables["params"], variables["params"])
    assert all(jax.tree.leaves(moved)) and list(fitted.metrics) == ["accuracy"]

    rules = [("^exits/", None, None), ("", quantizers.binary(), None)]
    quantized = models.quantized(EXITS, rules)
    exits = exits_of(jax.jit(quantized.apply)(fitted.variables, X)[0])
    in_float = [f"exits/block{i}/logits/kernel" for i in (1, 2)]
    assert models.float_weights(quantized, fitted.variables, X) == ["dense1/kernel", *in_float, "logits/kernel"]
    binary = fitted.variables["params"]["dense2"]["kernel"]
    signs = {
        **fitted.variables["params"],
        "dense2": {**fitted.variables["params"]["dense2"], "kernel": np.sign(binary)},
    }
    np.testing.assert_allclose(exits, by_hand(signs, X), rtol=1e-4, atol=1e-4)

    total = privacy.clipped_sum(privacy.example_loss(EXITS, loss), clippings.flat(1e-3))
    clipped, norms = jax.jit(total)(fitted.variables, Batch(X, data.y, None), jax.random.key(0))
    assert norms.shape == (6,) and jax.tree.structure(clipped) == jax.tree.structure(fitted.variables["params"])

    answering = models.early_exit(EXITS, 0.8)
    models.save(tmp_path, answering, fitted.variables, X)
    saved = models.load(tmp_path)
    np.testing.assert_array_equal(saved.model.apply(saved.variables, X)[0], answering.apply(fitted.variables, X)[0])


class Skipping(nn.Module):
    """x -> Dense_1, whose input is added to its output."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dense(5)(x) + x)


def test_a_split_computes_the_same_and_says_what_it_sends(variables):
    parts = models.split(NET, "block1", X, quantizers.uniform(8, max_abs=4.0))
    inner = {"params": {name: tree for name, tree in variables["params"].items() if name != "exits"}}
    sent = np.asarray(parts.head.apply(inner, X)[0])
    assert (parts.sent_shape, parts.sent_bytes) == ((8,), 8) and len(np.unique(sent)) <= 255
    hidden, last = inner["params"]["dense2"], inner["params"]["logits"]
    expected = np.maximum(sent @ hidden["kernel"] + hidden["bias"], 0) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(parts.tail.apply(inner, sent)[0], expected, rtol=1e-4, atol=1e-4)
    assert parts.device == ("params/dense1/bias", "params/dense1/kernel")
    assert len(parts.server) == 4 and not set(parts.device) & set(parts.server)


def called_twice():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(5, name="layer")
            return nn.Dense(3)(layer(layer(x)))

    return models.from_linen(Twice())


BINARY = models.quantized(NET, [("", quantizers.binary(), None)])


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (lambda: models.multi_exit(NET, ()), "names no path"),
        (lambda: models.multi_exit(NET, "("), "not a regular expression"),
        (lambda: models.multi_exit(NET, "block", positions=0), "positions=0"),
        (lambda: models.multi_exit(BINARY, "block"), "quantized already"),
        (lambda: init(models.multi_exit(NET, "blok")), "'blok' is found in the path of no module. .* block1"),
        (lambda: init(models.multi_exit(NET, "logits")), "the network's own output"),
        (lambda: init(models.multi_exit(called_twice(), "layer")), "called twice"),
        (lambda: init(models.multi_exit(EXITS, "block")), "an exit needs those of a classifier"),
        (lambda: EXITS.apply(NET.init(jax.random.key(0), X), X), "hold no exits"),
        (lambda: models.answers(np.zeros((2, 3)), 0.0), "threshold=0.0"),
        (lambda: models.answers(np.zeros((2, 3)), 1.5), "threshold=1.5"),
        (lambda: models.answers(np.full((1, 2, 3), np.nan), 0.5), "exits"),
        (lambda: models.answers({"exits": np.zeros((1, 2, 3))}, 0.5), r"pass one array of logits: outputs\['exits'\]"),
        (lambda: losses.cross_entropy().apply({"exits": X}, None), r"take losses.over_exits\(\)"),
        (lambda: exits_of(jnp.zeros((2, 3))), r"outputs are shape \(2, 3\)"),
        (lambda: models.split(models.from_linen(Skipping()), "Dense_1", X), "a skip connection"),
        (lambda: models.split(NET, "blok", X), "is called 0 times"),
        (lambda: models.split(called_twice(), "layer", X), "is called 2 times"),
        (lambda: models.split(NET, "block1", X, quantizers.xnor()), "does not serve activations"),
        (lambda: models.split(NET, "block1", X).head.apply({}, X, train=True), "not trained"),
        (lambda: losses.over_exits(weights=(0.0, 0.0)), "all 0"),
        (lambda: losses.over_exits(weights=(-1.0, 1.0)), "weights=-1.0"),
    ],
)
def test_what_cannot_be_is_refused(refused, words):
    with pytest.raises(ValueError, match=words):
        refused()


def init(model):
    return jax.eval_shape(model.init, jax.random.key(0), X)


@pytest.mark.parametrize("around", [lambda model: model, lambda model: models.early_exit(model, 0.6)])
def test_a_cut_comes_before_the_first_exit(filled, around):
    model = models.multi_exit(NET, "^block2$")
    variables, split = filled(model, X), around(model)
    parts = models.split(split, "block1", X)
    params = variables["params"]
    sent = np.maximum(X @ params["dense1"]["kernel"] + params["dense1"]["bias"], 0)
    np.testing.assert_allclose(parts.head.apply(variables, X)[0], sent, rtol=1e-5)
    ours, wanted = parts.tail.apply(variables, jnp.asarray(sent))[0], split.apply(variables, X)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, wanted)
    assert any("exits/block2" in name for name in parts.server) and not any("exits" in name for name in parts.device)
    for path in ("block2", "logits"):
        with pytest.raises(ValueError, match=f"path='{path}': exits of this multi-exit model .* before its first exit"):
            models.split(split, path, X)
