"""Recipes that fine-tune: every model starts from the pre-trained values, with fresh ones of its own beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, training
from gecko_jax.models import fine_tuning
from gecko_jax.trees import named_leaves
from gecko_jax.types import Examples


def test_a_shadow_of_a_fine_tuned_target_starts_where_the_target_does():
    rng = np.random.default_rng(0)
    data = Examples(rng.normal(size=(12, 5)).astype(np.float32), rng.integers(0, 3, 12).astype(np.int32))
    network, method = models.create("mlp", 3, hidden=(4,)), fine_tuning.lora(rank=2, paths="dense1")
    pretrained = jax.device_get(network.init(jax.random.key(0), data.x))
    options = {"pretrained": pretrained, "trainable": method.trainable, "epochs": 1, "batch_size": 4}
    recipe = training.Recipe(method.apply(network), data, **options)
    member = rng.random((2, 12)) < 0.6
    key = jax.random.key(3)
    shadows, target = recipe.ensemble(member, key), recipe(np.flatnonzero(member[0]), key)
    for name, leaf in named_leaves(target["params"]):
        both = dict(named_leaves(shadows["params"]))[name]
        np.testing.assert_allclose(both[0], leaf, atol=1e-5, err_msg=name)
        if name.startswith("fine_tuning/"):
            assert np.abs(both[0] - both[1]).max() > 1e-3
        else:
            np.testing.assert_array_equal(leaf, dict(named_leaves(pretrained["params"]))[name])
    with pytest.raises(ValueError, match="beside a frozen network, and init=None would leave that network untrained"):
        training.fit(recipe.model, data, trainable=method.trainable)
    with pytest.raises(ValueError, match="pretrained and init both say"):
        training.Recipe(network, data, pretrained=pretrained, init=pretrained)
    for dtype in (jnp.bfloat16, np.int32):  # updates would be lost; what is frozen may have any type
        coarse = jax.tree.map(lambda leaf, dtype=dtype: np.asarray(leaf).astype(dtype), pretrained)
        with pytest.raises(ValueError, match=rf"init\['dense1/bias'\] has dtype {np.dtype(dtype)} and is trained"):
            training.fit(network, data, init=coarse, epochs=1, batch_size=4)
    start = fine_tuning.start(recipe.model, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), pretrained), 0, data.x)
    tuned = training.fit(recipe.model, data, init=start, trainable=method.trainable, epochs=1, batch_size=4).variables
    assert tuned["params"]["dense1"]["kernel"].dtype == jnp.bfloat16
    assert np.abs(tuned["params"]["fine_tuning"]["lora"]["dense1"]["b"]["kernel"]).max() > 0
