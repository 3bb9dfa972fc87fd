"""BatchNorm folded into kernels: the same outputs, the factors where an integer network needs them, refusals."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, quantizers

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)


class Net(nn.Module):
    """Convolutions and a dense layer with BatchNorm, one of which does not follow a layer."""

    shared: bool = False

    @nn.compact
    def __call__(self, x, train: bool = False):
        y = nn.Conv(3, (3, 3), use_bias=False, name="conv")(x)
        h = nn.BatchNorm(use_running_average=not train, epsilon=1e-3, name="norm")(y)
        h = nn.relu(h + y if self.shared else h)
        h = nn.BatchNorm(use_running_average=not train, name="after_relu")(h).reshape(x.shape[0], -1)
        h = nn.relu(
            nn.BatchNorm(use_running_average=not train, use_scale=False, name="last")(nn.Dense(4, name="dense")(h))
        )
        return nn.Dense(2, name="head")(h)


def trained(net):
    drawn = jax.jit(net.init)(KEY, X)
    rng = np.random.default_rng(1)

    def positive(leaf):
        return jnp.asarray(rng.uniform(0.2, 2.0, leaf.shape), jnp.float32)

    norms = {name: jax.tree.map(positive, part) for name, part in drawn["params"].items() if "kernel" not in part}
    return {"params": {**drawn["params"], **norms}, "batch_stats": jax.tree.map(positive, drawn["batch_stats"])}


def test_the_outputs_stay_and_the_kernels_hold_the_factors():
    net = models.from_linen(Net())
    before = trained(net)
    after = models.fold_batch_norm(net, before, X)
    np.testing.assert_allclose(net.apply(after, X)[0], net.apply(before, X)[0], rtol=1e-4, atol=1e-5)
    norm, statistics = before["params"]["norm"], before["batch_stats"]["norm"]
    factor = np.asarray(norm["scale"], np.float64) / np.sqrt(np.asarray(statistics["var"], np.float64) + 1e-3)
    np.testing.assert_allclose(
        after["params"]["conv"]["kernel"], np.asarray(before["params"]["conv"]["kernel"]) * factor, rtol=1e-5
    )
    np.testing.assert_allclose(after["batch_stats"]["norm"]["mean"], np.asarray(statistics["mean"]) * factor, rtol=1e-5)
    assert (after["params"]["norm"]["scale"] == 1).all()
    factor = 1 / np.sqrt(np.asarray(before["batch_stats"]["last"]["var"], np.float64) + 1e-5)
    np.testing.assert_allclose(
        after["params"]["dense"]["bias"], np.asarray(before["params"]["dense"]["bias"]) * factor, rtol=1e-5
    )
    for kept in ("after_relu", "head"):
        jax.tree.map(np.testing.assert_array_equal, after["params"][kept], before["params"][kept])
    again = models.fold_batch_norm(net, after, X)  # nothing is left to fold
    np.testing.assert_allclose(again["params"]["conv"]["kernel"], after["params"]["conv"]["kernel"], rtol=1e-6)


def test_the_folded_kernel_is_what_is_quantized():
    net = models.from_linen(Net())
    folded = models.fold_batch_norm(net, trained(net), X)
    model = models.quantized(net, [("", quantizers.int8(), quantizers.int8_input())], float_layers=())
    calibrated = models.calibrate(model, folded, X)
    scale = models.weight_codes(model, calibrated, X)["conv/kernel"].scale
    expected = np.abs(np.asarray(folded["params"]["conv"]["kernel"])).max((0, 1, 2)) / 127
    np.testing.assert_allclose(np.ravel(scale), expected, rtol=1e-5)
    gap = np.abs(model.apply(calibrated, X)[0] - net.apply(folded, X)[0]).max()
    assert 0 < gap < 0.05 * np.abs(net.apply(folded, X)[0]).max()


def test_what_cannot_be_folded_is_named():
    shared = models.from_linen(Net(shared=True))
    with pytest.raises(ValueError, match="folding changes the outputs by .* of conv, dense computes before"):
        models.fold_batch_norm(shared, trained(shared), X)
    plain = models.create("mlp", 2, hidden=(3,))
    with pytest.raises(ValueError, match="no nn.BatchNorm on the output"):
        models.fold_batch_norm(plain, plain.init(KEY, X), X)
    net = models.from_linen(Net())
    model = models.quantized(net, [("", quantizers.lsq(4), None)], float_layers=())
    with pytest.raises(ValueError, match="weight:conv/kernel/step', which a quantizer has learned"):
        models.fold_batch_norm(model, jax.jit(model.init)(KEY, X), X)
