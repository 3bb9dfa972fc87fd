"""Weight sharing: what the network computes, the gradients of its centroids, and the size of its file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, integer, losses, models, quantizers, training
from gecko_jax.hooks import finish_update
from gecko_jax.types import Batch, Examples, Rule

X = np.random.default_rng(0).random((8, 6)).astype(np.float32)
DATA = Examples(X, np.arange(8, dtype=np.int32) % 3)


@pytest.fixture(scope="module")
def network():
    net = models.create("mlp", 3, hidden=(5,))
    return net, net.init(jax.random.key(0), X)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_each_kernel_takes_2_to_the_bits_values_near_its_own(network, bits):
    net, trained = network
    shared = models.shared_weights(net, bits, path="dense1")
    start = models.start_shared(shared, trained, X)
    kernel, dense = trained["params"]["dense1"]["kernel"], models.looked_up(start)["params"]["dense1"]["kernel"]
    assert len(np.unique(dense)) <= 2**bits == len(start["params"]["dense1"]["kernel"])
    near = np.abs(np.asarray(kernel)[..., None] - np.asarray(start["params"]["dense1"]["kernel"])[None, None])
    np.testing.assert_allclose(np.abs(dense - kernel), near.min(-1), atol=1e-6)
    np.testing.assert_array_equal(start["params"]["logits"]["kernel"], trained["params"]["logits"]["kernel"])
    expected = net.apply(
        {"params": {**trained["params"], "dense1": {**trained["params"]["dense1"], "kernel": dense}}}, X
    )
    np.testing.assert_array_equal(shared.apply(start, X)[0], expected[0])


def test_training_moves_centroids_by_the_sum_of_their_weights_gradients(network):
    net, trained = network
    shared = models.shared_weights(net, 2)
    start = models.start_shared(shared, trained, X)
    batch = Batch(X, DATA.y, None)
    slopes = training.batch_gradients(net, losses.cross_entropy())(models.looked_up(start), batch, None)[0]
    options = dict(optimizer=training.optimizer("sgd", 0.5), epochs=1, batch_size=8)
    fitted = training.fit(shared, DATA, init=start, **options).variables
    for name, codes in start["weight_codes"].items():
        layer, _, leaf = name.partition("/")
        summed = np.bincount(np.ravel(codes), np.ravel(slopes[layer][leaf]).astype(float), minlength=4)
        expected = np.asarray(start["params"][layer][leaf]) - 0.5 * summed
        np.testing.assert_allclose(fitted["params"][layer][leaf], expected, atol=1e-6)
        np.testing.assert_array_equal(fitted["weight_codes"][name], codes)


@pytest.mark.parametrize("share, bits", [(0.0, 3), (0.7, 2)])
def test_the_file_holds_codes_and_centroids_and_is_as_long_as_its_cost_says(network, share, bits, tmp_path):
    """Deep compression: pruned, then shared; a weight that was removed stays removed and takes no code."""
    net, trained = network
    pruned = models.pruned(net, share, "weight")
    trained = models.without_pruning_state(models.prune_once(pruned, trained, X))
    shared = models.shared_weights(net, bits)
    start = models.start_shared(shared, trained, X)
    stored = integer.write(tmp_path / "net", integer.pack(shared, start, X))
    assert stored.total == (tmp_path / "net").stat().st_size == costs.cost(shared, start, X).stored_bytes.value
    kernels = [trained["params"][layer]["kernel"] for layer in ("dense1", "logits")]
    assert stored.code_bits == bits * sum(int((kernel != 0).sum()) for kernel in kernels)
    assert stored.scale_bytes == 2 * 4 * (2**bits + 1) and (stored.index_bytes > 0) == (share > 0)
    back = integer.read(tmp_path / "net")
    jax.tree.map(np.testing.assert_array_equal, back, models.looked_up(start))
    for kernel, layer in zip(kernels, ("dense1", "logits"), strict=True):
        np.testing.assert_array_equal(back["params"][layer]["kernel"] == 0, kernel == 0)


def test_it_is_saved_and_its_inputs_may_be_quantized(network, tmp_path):
    net, trained = network
    rules = [Rule(path="", input=quantizers.uniform(8, max_abs=4.0))]
    model = models.quantized(models.shared_weights(net, 2), rules, float_layers=())
    start = models.start_shared(model, trained, X)
    models.save(tmp_path / "net", model, start, X)
    saved = models.load(tmp_path / "net")
    np.testing.assert_array_equal(saved.model.apply(saved.variables, X)[0], model.apply(start, X)[0])
    assert {(layer.weight_bits, layer.input_bits) for layer in costs.cost(model, start, X).layers} == {(32, 8)}
    inside = models.shared_weights(models.quantized(net, rules, float_layers=()), 2)
    np.testing.assert_array_equal(inside.apply(start, X)[0], model.apply(start, X)[0])
    assert finish_update(model, start, X) is start


def test_what_cannot_be_shared_is_refused(network):
    net, trained = network
    with pytest.raises(ValueError, match="bits=9 must lie between 1 and 8"):
        models.shared_weights(net, 9)
    with pytest.raises(ValueError, match="model has hooks.*start_shared"):
        models.shared_weights(models.pruned(net, 0.5), 2)
    with pytest.raises(ValueError, match="'conv' is in no kernel's path. .* Kernels: dense1/kernel"):
        models.shared_weights(net, 2, path="conv").init(jax.random.key(0), X)
    ternary = models.quantized(net, [("dense1", quantizers.ternary(), None)], float_layers=())
    with pytest.raises(ValueError, match="is quantized already: dense1/kernel"):
        models.shared_weights(ternary, 2).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="model shares no weights"):
        models.start_shared(net, trained, X)
    with pytest.raises(ValueError, match=r"logits/bias'\] has shape"):
        other = {"params": {**trained["params"], "logits": {**trained["params"]["logits"], "bias": jnp.zeros(9)}}}
        models.start_shared(models.shared_weights(net, 2), other, X)
    with pytest.raises(ValueError, match="variables lack params/logits/bias, which would start afresh"):
        other = {"params": {**trained["params"], "logits": {"kernel": trained["params"]["logits"]["kernel"]}}}
        models.start_shared(models.shared_weights(net, 2), other, X)
