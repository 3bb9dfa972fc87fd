"""The contract of every way of fine-tuning: it starts at the pre-trained model and moves what it says, nothing else."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from gecko_jax import losses, models, training
from gecko_jax.models import fine_tuning
from gecko_jax.models.blueprint import build
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Batch, Examples

SETTINGS = {"adapter": {"reduction": 4}, "lora": {"rank": 2}, "prefix": {"length": 3}}
TRAINED = {  # what each one trains of the network below, in words of its paths
    "adapter": r"^fine_tuning/adapter/block0/(attention|mlp)/(down|up)/(kernel|bias)$",
    "bitfit": r"/bias$",
    "embedding": r"^embed/embedding$",
    "full": "",
    "head": r"^head/kernel$",
    "lora": r"^fine_tuning/lora/block0/attention/(query|value)/(a|b)/kernel$",
    "prefix": r"^fine_tuning/prefix/block0/attention/product/(gate|key|value)$",
}
ROWS, LENGTH, VOCABULARY = 8, 6, 16


@pytest.fixture(scope="module")
def network():
    """(model, pre-trained variables, its outputs, data)."""
    model = models.create("transformer", VOCABULARY, layers=1, width=8, heads=2, max_length=LENGTH)
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, (ROWS, LENGTH + 1)).astype(np.int32)
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), tokens[:1, :-1]))
    return model, variables, jax.jit(model.apply)(variables, tokens[:, :-1])[0], Examples(tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("name", sorted(fine_tuning.FINE_TUNINGS))
def test_it_starts_at_the_pretrained_model_and_its_gradients_reach_what_it_says(network, name):
    base, pretrained, outputs, data = network
    method = fine_tuning.FINE_TUNINGS[name](**SETTINGS.get(name, {}))
    assert method.name == name
    model = method.apply(base)
    assert build(model.blueprint).blueprint == model.blueprint  # as models.load does
    start = fine_tuning.start(model, pretrained, 5, data.x)
    before = dict(named_leaves(start["params"]))
    trained = [leaf for leaf in before if re.search(TRAINED[name], leaf)]
    assert fine_tuning.trained_parameters(method, start) == {leaf: before[leaf].size for leaf in trained}

    slopes_of = training.batch_gradients(model, losses.sequence_cross_entropy(), method.trainable)

    @jax.jit
    def both(variables):
        return model.apply(variables, data.x)[0], slopes_of(variables, Batch(data.x, data.y, None), None)[0]

    np.testing.assert_array_equal(both(start)[0], outputs)
    moved = {**start, "params": map_named(lambda leaf, value: value + 0.1 * (leaf in trained), start["params"])}
    slopes = dict(named_leaves(both(moved)[1]))  # at the start itself, what stands before a 0 has no gradient
    assert [leaf for leaf in before if np.any(slopes[leaf] != 0)] == trained


def test_methods_combine(network):
    base, _, _, data = network
    first, second = fine_tuning.prefix(2), fine_tuning.lora(rank=1, paths="mlp/")
    model = second.apply(first.apply(base))
    shapes = jax.eval_shape(model.init, jax.random.key(0), data.x)
    assert {name: set(part) for name, part in shapes["params"]["fine_tuning"].items()} == {
        "prefix": {"block0/attention/product"}, "lora": {"block0/mlp/up", "block0/mlp/down"}}  # fmt: skip
    counts = fine_tuning.trained_parameters(second._replace(trainable=(*first.trainable, *second.trainable)), shapes)
    assert len(counts) == 3 + 4
    assert jax.eval_shape(model.apply, shapes, data.x)[0].shape == (ROWS, LENGTH, VOCABULARY)
    with pytest.raises(ValueError, match="has parameters of 'lora' already: apply fine_tuning.lora once"):
        jax.eval_shape(second.apply(model).init, jax.random.key(0), data.x)
