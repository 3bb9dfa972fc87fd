"""Bounds from data, and flipped bits by hand: what is stored, what a device reads, and what the bounds save."""

import jax
import numpy as np
import optax
import pytest

from gecko_jax import datasets, metrics, models, quantizers, training
from gecko_jax.trees import named_leaves
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(9, 8, 8, 1)).astype(np.float32)


def network(name, activation, **options):
    sizes = dict(hidden=(48, 48)) if name == "mlp" else dict(hidden=4, channels=(2, 3))
    return models.create(name, 10, activation=activation, activation_options=options or None, **sizes)


PLAIN, BOUNDED = network("mlp", "relu"), network("mlp", "bounded_relu")


@pytest.fixture(scope="module")
def digits():
    """A trained ReLU network, its data, and rows that it was not trained on."""
    loaded = datasets.load("digits")
    rows = [part.x.reshape(len(part.x), -1) for part in (loaded.train, loaded.test)]
    data = Examples(rows[0], loaded.train.y)
    optimizer = training.optimizer("adam", 3e-3)
    return training.fit(PLAIN, data, epochs=12, optimizer=optimizer).variables, data, (rows[1], loaded.test.y)


@pytest.mark.parametrize("granularity, axes", [("layer", (0, 1, 2, 3)), ("channel", (0, 1, 2)), ("neuron", (0,))])
def test_bounds_are_the_largest_values_of_the_data(granularity, axes):
    plain, bounded = network("lenet", "relu"), network("lenet", "bounded_relu", granularity=granularity)
    start = jax.jit(plain.init)(jax.random.key(0), IMAGES)
    variables = models.calibrated_bounds(bounded, start, IMAGES, margin=1.5)
    kernel, bias = start["params"]["conv1"]["kernel"], start["params"]["conv1"]["bias"]
    z = jax.lax.conv_general_dilated(IMAGES, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    z = np.asarray(z) + np.asarray(bias)
    bound = variables["params"]["block1"]["BoundedRelu_0"]["bound"]
    np.testing.assert_allclose(bound, 1.5 * np.maximum(z.max(axes), 0).reshape(bound.shape), rtol=1e-5)
    np.testing.assert_allclose(training.predict(bounded, variables, IMAGES), plain.apply(start, IMAGES)[0], atol=1e-5)
    again = models.calibrated_bounds(bounded, variables, IMAGES, margin=1.5)
    np.testing.assert_array_equal(again["params"]["block1"]["BoundedRelu_0"]["bound"], bound)


def test_bounds_are_learned_and_nothing_else_moves(digits):
    start, data, _ = digits
    start = models.calibrated_bounds(BOUNDED, start, data.x)
    optimizer = optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.1))
    options = dict(epochs=2, batch_size=256, init=start, trainable=["/bound$"], optimizer=optimizer)
    learned = dict(named_leaves(training.fit(BOUNDED, data, **options).variables))
    for name, leaf in named_leaves(start):
        if name.endswith("/bound"):
            assert (learned[name] < leaf)[leaf > 0].mean() > 0.9  # a neuron that never fires has a bound of 0
        else:
            np.testing.assert_array_equal(learned[name], leaf)


def read_by_device(value, scale, bits, flips):
    """A stored number, with the bits in `flips` turned over, as two's complement."""
    word = format(int(value) % 2**bits, f"0{bits}b")[::-1]
    word = "".join("10"[int(bit)] if i in flips else bit for i, bit in enumerate(word))[::-1]
    return (int(word, 2) - 2**bits * int(word[0])) * scale


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("stored", ["int8", "int4", "fixed"])
def test_weights_are_read_with_their_bits_flipped(rate, stored):
    net = models.create("mlp", 3, hidden=(5,))
    variables = jax.jit(net.init)(jax.random.key(0), np.ones((1, 4)))
    x, bits, fixed = np.ones((1, 4), np.float32), {"int8": 8, "int4": 4, "fixed": 12}[stored], None
    model, quantizer = net, quantizers.uniform(bits) if stored != "fixed" else None
    if quantizer:
        model = models.quantized(net, [("", quantizer, None)], ())
    else:
        fixed = (12, 7)
    flipped, count = models.with_flipped_bits(model, variables, x, rate, 3, fixed)
    total = 0
    for layer in ("dense1", "logits"):
        w = np.asarray(variables["params"][layer]["kernel"])
        values, scale = (np.rint(w * 128), 2**-7 * np.ones((1, 1))) if fixed else quantizer.codes((), w)[:2]
        values, scale = np.asarray(values), np.broadcast_to(np.asarray(scale, np.float64), w.shape)
        result = flipped["params"][layer]["kernel"]
        words = np.rint(result / scale).astype(int) % 2**bits ^ values.astype(int) % 2**bits
        total += sum(bin(word).count("1") for word in words.ravel())
        for at in np.ndindex(w.shape):
            turned = [i for i in range(bits) if words[at] >> i & 1]
            assert result[at] == pytest.approx(read_by_device(values[at], scale[at], bits, turned), rel=1e-6)
        np.testing.assert_array_equal(flipped["params"][layer]["bias"], variables["params"][layer]["bias"])
    assert count == total and abs(count - rate * bits * 35) < 5 * np.sqrt(bits * 35) * (0 < rate < 1) + 1e-9
    other = models.with_flipped_bits(model, variables, x, rate, 4, fixed)[0]["params"]["dense1"]["kernel"]
    assert (not np.array_equal(other, flipped["params"]["dense1"]["kernel"])) == (0 < rate < 1)


def accuracy_after(model, variables, rows, rate, fixed_point=None):
    x, y = rows
    stored = model if fixed_point else models.quantized(model, [("", quantizers.uniform(8), None)], ())
    each = [models.with_flipped_bits(stored, variables, x[:1], rate, seed, fixed_point)[0] for seed in range(6)]
    return np.mean([metrics.accuracy(training.predict(model, flipped, x), y) for flipped in each])


def test_bounds_save_a_network_in_fixed_point_from_flipped_bits(digits):
    variables, data, rows = digits
    bounded = models.calibrated_bounds(BOUNDED, variables, data.x)
    before = [metrics.accuracy(training.predict(m, v, rows[0]), rows[1]) for m, v in
              ((PLAIN, variables), (BOUNDED, bounded))]  # fmt: skip
    assert min(before) > 0.93 and abs(before[0] - before[1]) < 0.01
    after = [accuracy_after(m, v, rows, 2e-4, (16, 8)) for m, v in ((PLAIN, variables), (BOUNDED, bounded))]
    assert after[0] < 0.5 and after[1] > after[0] + 0.3, after
    # A flip in int8 moves a weight by its filter's own range at most: the same rate does no harm, with bounds or not.
    assert accuracy_after(PLAIN, variables, rows, 2e-4) > before[0] - 0.02


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda v, x: models.calibrated_bounds(PLAIN, v, x), 'has no "bounded_relu" activation'),
        (lambda v, x: models.calibrated_bounds(network("mlp", "bounded_relu"), {"params": {}}, x), "variables lack"),
        (lambda v, x: models.calibrated_bounds(BOUNDED, v, x, margin=0.0), "margin=0.0 must be"),
        (lambda v, x: models.calibrated_bounds(BOUNDED, v, x[:0]), "x is empty"),
        (lambda v, x: models.calibrated_bounds(BOUNDED, v, x * np.nan), "the largest values at 'block1/.* on x holds"),
        (
            lambda v, x: models.with_flipped_bits(PLAIN, jax.tree.map(lambda w: 1e3 * w, v), x, 0.0, 0, (8, 4)),
            r"kernel holds .*; fixed_point=\(8, 4\) stores numbers from -8 to below 8",
        ),
        (lambda v, x: models.with_flipped_bits(PLAIN, v, x, 0.1, 0), "fixed_point=None with 0 quantized weights"),
        (lambda v, x: models.with_flipped_bits(PLAIN, v, x, 1.5, 0, (16, 8)), "rate=1.5 must lie between 0 and 1"),
        (lambda v, x: models.with_flipped_bits(PLAIN, v, x, 0.1, 0, (40, 8)), r"fixed_point\[0\]=40"),
        (lambda v, x: models.with_flipped_bits(PLAIN, v, x, 0.1, 0, (8, 8)), r"fixed_point\[1\]=8"),
        (
            lambda v, x: models.with_flipped_bits(
                models.quantized(PLAIN, [("", quantizers.binary(), None)], ()), v, x, 0.1, 0
            ),
            "whose codes are not integers of 2 bits or more",
        ),
    ],
)
def test_what_cannot_be_bounded_or_flipped_is_refused(digits, call, message):
    with pytest.raises(ValueError, match=message):
        call(digits[0], digits[1].x[:5])
