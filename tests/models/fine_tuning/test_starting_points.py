"""Where fine-tuning starts; tied tables; what would start from an untrained network is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gecko_jax import models, training
from gecko_jax.models import fine_tuning
from gecko_jax.trees import named_leaves

X = np.ones((3, 5), np.float32)
TOKENS = np.array([[1, 2, 3]])


def network():
    return models.create("mlp", 3, hidden=(4,))


@pytest.fixture(scope="module")
def pretrained():
    return jax.tree.map(np.asarray, network().init(jax.random.key(7), X))


def test_several_models_differ_in_what_is_fresh_alone(pretrained):
    model = fine_tuning.adapter(2, "dense1$").apply(network())
    three, one = (fine_tuning.start(model, pretrained, 5, X, models) for models in (3, None))
    for (name, leaf), (_, alone) in zip(named_leaves(three["params"]), named_leaves(one["params"]), strict=True):
        assert leaf.shape == (3, *alone.shape) and np.array_equal(leaf[0], alone), name
        assert np.array_equal(leaf[0], leaf[1]) == ("down/kernel" not in name), name
    other, one = (tree["params"]["fine_tuning"]["adapter"]["dense1"]["down"]["kernel"]
                  for tree in (fine_tuning.start(model, pretrained, 6, X), one))  # fmt: skip
    assert not np.array_equal(other, one)


def test_pretrained_variables_that_do_not_fit_are_refused(pretrained):
    model = fine_tuning.lora(2, paths="dense").apply(network())
    params = pretrained["params"]
    for variables, message in [
        ({"params": {**params, "more": {"w": X}}}, "has params/more/w, which the model does not have"),
        ({"params": {"dense1": params["dense1"]}}, "lacks params/logits/bias, params/logits/kernel, which the network"),
        (jax.tree.map(lambda leaf: leaf[None], pretrained), r"pretrained\['params/dense1/bias'\] has shape \(1, 4\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            fine_tuning.start(model, variables, 0, X)
    with pytest.raises(ValueError, match="models=0"):
        fine_tuning.start(model, pretrained, 0, X, models=0)


def test_running_averages_do_not_begin_afresh():
    net = models.create("mlp", 3, hidden=(4,), normalize=True)
    model, trained = fine_tuning.lora(2, paths="dense").apply(net), net.init(jax.random.key(7), X)
    with pytest.raises(ValueError, match="lacks batch_stats/.*/mean, .*/var, which the network has"):
        fine_tuning.start(model, {"params": trained["params"]}, 0, X)


def test_an_average_of_untrained_weights_is_refused_and_masks_are_not(pretrained):
    averaged = training.with_average(fine_tuning.lora(2, paths="dense").apply(network()), 0.9)
    with pytest.raises(ValueError, match="average.*which the model's init computes from an untrained network"):
        fine_tuning.start(averaged, pretrained, 0, X)
    pruned = models.pruned(fine_tuning.full().apply(network()), 0.5, "weight")
    start = fine_tuning.start(pruned, pretrained, 0, X)
    assert start["pruning_masks"]["dense1/kernel"].all()


def transformer(tied):
    return models.create("transformer", 8, layers=1, width=4, heads=1, max_length=3, tied=tied)


@pytest.mark.parametrize("method, tied, message", [
    (fine_tuning.head(), True, "the output layer is the table embed/embedding, which head.tied=True. trains"),
    (fine_tuning.head(path="^embed/"), True, "would train embed/embedding, which is the token embedding and the"),
    (fine_tuning.embedding(), True, "would train embed/embedding.*Pass tied=True"),
    (fine_tuning.head(tied=True), False, "head.tied=True.: the model reads embed/embedding at one end alone"),
    (fine_tuning.embedding(tied=True), False, "at one end alone"),
    (fine_tuning.head(path="last"), False, r"'last' is found in no parameter's path; head\(path=...\) names it"),
])  # fmt: skip
def test_a_tied_table_is_trained_only_if_the_user_says_so(method, tied, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(method.apply(transformer(tied)).init, jax.random.key(0), TOKENS)


@pytest.mark.parametrize("method, tied, names", [
    (fine_tuning.head(tied=True), True, ["embed/embedding"]), (fine_tuning.embedding(tied=True), True,
    ["embed/embedding"]), (fine_tuning.head(), False, ["head/kernel"]), (fine_tuning.embedding(), False,
    ["embed/embedding"]),
])  # fmt: skip
def test_what_is_trained_of_tied_and_untied_tables(method, tied, names):
    shapes = jax.eval_shape(method.apply(transformer(tied)).init, jax.random.key(0), TOKENS)
    assert list(fine_tuning.trained_parameters(method, shapes)) == names


def test_what_cannot_be_merged_says_so(pretrained):
    model = fine_tuning.adapter(2, "dense").apply(network())
    with pytest.raises(ValueError, match="fine_tuning.adapter cannot be merged"):
        fine_tuning.merge(fine_tuning.adapter(2, "dense"), model, fine_tuning.start(model, pretrained, 0, X))
    assert fine_tuning.merge(fine_tuning.bitfit(), network(), pretrained) is pretrained
