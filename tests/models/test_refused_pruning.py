"""What would leave nothing of a kernel, or nothing that counts, is refused before a network is pruned or shared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models


def test_a_threshold_that_empties_a_kernel_is_refused():
    net, x = models.create("mlp", 2, hidden=(3,)), jnp.ones((1, 2))
    model = models.pruned(net, 0.0, "weight")
    kernels = {"dense1": np.array([[1.0, 2, 3], [-4, 5, 6]]), "logits": np.array([[1.0, -1], [1, -1], [1, -1]])}
    params = {name: {"kernel": jnp.float32(k), "bias": jnp.zeros(k.shape[1])} for name, k in kernels.items()}
    top = {name: np.abs(k).max() / k.std() for name, k in kernels.items()}  # 1 of the logits', whose size is one
    assert top["logits"] == 1 < top["dense1"]
    for std, layer in ((1.0, "logits"), (2.0, "dense1")):
        words = rf"std={std:g} would remove all weights of {layer}/kernel, .* Pass a std below {top[layer]:.3g}\."
        with pytest.raises(ValueError, match=words):
            models.prune_once(model, {"params": params}, x, std=std)
    start = models.prune_once(model, {"params": params}, x, std=0.99)
    np.testing.assert_array_equal(
        start["params"]["dense1"]["kernel"] != 0, np.abs(kernels["dense1"]) > 0.99 * kernels["dense1"].std()
    )
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), {"params": params})
    several = jax.jit(jax.vmap(lambda each: models.prune_once(model, each, x, std=1.0)))(both)
    assert np.count_nonzero(several["params"]["logits"]["kernel"][1]) == 1  # of values that are not known, one stays
    empty = {**params, "logits": {**params["logits"], "kernel": jnp.zeros((3, 2))}}
    stored = models.prune_once(model, {"params": empty}, x, std=0.0)  # nothing is removed that was there
    assert not np.any(stored["pruning_masks"]["logits/kernel"])


@pytest.mark.parametrize("std", [None, 0.5])
def test_a_network_with_nan_is_neither_pruned_nor_shared(std):
    net, x = models.create("mlp", 2, hidden=(3,)), jnp.ones((1, 2))
    kernel = jnp.ones((2, 3)).at[1, 2].set(jnp.nan)
    params = {
        "dense1": {"kernel": kernel, "bias": jnp.zeros(3)},
        "logits": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)},
    }
    with pytest.raises(ValueError, match=r"variables\['params/dense1/kernel'\] holds 1 entry .* index \(1, 2\)"):
        models.prune_once(models.pruned(net, 0.0, "weight"), {"params": params}, x, std=std)
    with pytest.raises(ValueError, match=r"variables\['params/dense1/kernel'\] holds 1 entry"):
        models.start_shared(models.shared_weights(net, 2), {"params": params}, x)
