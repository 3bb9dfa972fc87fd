"""The contract of every way of fine-tuning: it starts at the pre-trained model and moves what it says, nothing else."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from gecko_jax import losses, models, training
from gecko_jax.models import fine_tuning
from gecko_jax.trees import named_leaves, take
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
    """(model, pre-trained variables, data)."""
    model = models.create("transformer", VOCABULARY, layers=1, width=8, heads=2, max_length=LENGTH)
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, (ROWS, LENGTH + 1)).astype(np.int32)
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), tokens[:1, :-1]))
    return model, variables, Examples(tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("name", sorted(fine_tuning.FINE_TUNINGS))
def test_it_starts_at_the_pretrained_model_and_moves_what_it_says(network, name, tmp_path):
    base, pretrained, data = network
    method = fine_tuning.FINE_TUNINGS[name](**SETTINGS.get(name, {}))
    assert method.name == name
    model = method.apply(base)
    start = fine_tuning.start(model, pretrained, 5, data.x, models=2)
    for row in (0, 1):
        outputs = jax.jit(model.apply)(take(start, row), data.x)[0]
        np.testing.assert_array_equal(outputs, jax.jit(base.apply)(pretrained, data.x)[0])

    member = np.ones((2, ROWS), bool)
    options = {"loss": losses.sequence_cross_entropy(), "epochs": 1, "batch_size": 2, "trainable": method.trainable}
    fitted = training.fit_ensemble(model, data, member, init=start, **options).variables
    before, trained = dict(named_leaves(start["params"])), []
    for leaf_name, leaf in named_leaves(fitted["params"]):
        if np.array_equal(leaf, before[leaf_name]):
            continue
        trained.append(leaf_name)
        if leaf_name != "embed/embedding":  # a table's rows of tokens that do not occur stay
            moved = np.abs(leaf - before[leaf_name]).reshape(2, -1).max(1)
            assert np.all(moved > 0), f"{leaf_name} of one model stayed"
    assert sorted(trained) == [leaf for leaf in sorted(before) if re.search(TRAINED[name], leaf)]
    counts = fine_tuning.trained_parameters(method, take(start, 0))
    assert counts == {leaf: before[leaf][0].size for leaf in before if leaf in trained}

    models.save(tmp_path, model, take(fitted, 1), data.x)
    saved = models.load(tmp_path)
    outputs = [jax.jit(each.apply)(take(fitted, 1), data.x)[0] for each in (model, saved.model)]
    np.testing.assert_array_equal(*outputs)


def test_an_ensemble_is_its_single_models(network):
    base, pretrained, data = network
    method = fine_tuning.lora(rank=2)
    model = method.apply(base)
    start = fine_tuning.start(model, pretrained, 5, data.x, models=2)
    member = np.random.default_rng(1).random((2, ROWS)) < 0.7
    options = {"loss": losses.sequence_cross_entropy(), "epochs": 2, "batch_size": 4, "trainable": method.trainable}
    both = training.fit_ensemble(model, data, member, init=start, **options).variables
    alone = training.fit(model, data, member[1], init=take(start, 1), model_id=1, **options).variables
    for (name, leaf), (_, other) in zip(named_leaves(take(both, 1)), named_leaves(alone), strict=True):
        np.testing.assert_allclose(leaf, other, atol=1e-5, err_msg=name)


def test_methods_combine(network):
    base, pretrained, data = network
    first, second = fine_tuning.prefix(2), fine_tuning.lora(rank=1, paths="mlp/")
    model = second.apply(first.apply(base))
    start = fine_tuning.start(model, pretrained, 0, data.x)
    assert set(start["params"]["fine_tuning"]) == {"prefix", "lora"}
    gradients = training.batch_gradients(model, losses.sequence_cross_entropy(), (*first.trainable, *second.trainable))
    moved = jax.tree.map(lambda leaf: leaf + 0.1, start["params"]["fine_tuning"])
    variables = {"params": {**start["params"], "fine_tuning": moved}}
    slopes = jax.jit(lambda variables: gradients(variables, Batch(data.x, data.y, None), None)[0])(variables)
    reached = {name for name, leaf in named_leaves(slopes) if np.any(np.asarray(leaf) != 0)}
    assert reached == {name for name, _ in named_leaves(start["params"]) if name.startswith("fine_tuning/")}
    with pytest.raises(ValueError, match="has parameters of 'lora' already: apply fine_tuning.lora once"):
        jax.eval_shape(second.apply(model).init, jax.random.key(0), data.x)
