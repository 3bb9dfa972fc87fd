"""A network with learned and measured grids through its life: trained, saved, packed, priced."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gecko_jax import costs, integer, models, quantizers, training
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
RULES = [  # the precision of each layer by itself
    models.Rule("dense1", quantizers.int8(), quantizers.int8_input()),
    models.Rule("dense2", quantizers.lsq(4), quantizers.pact(4, level=0.5)),
    models.Rule("logits", quantizers.ttq(), quantizers.lsq_plus_input(8)),
]


def test_trained_saved_packed_and_priced(tmp_path):
    model = models.quantized(models.create("mlp", 2, hidden=(6, 6)), RULES, float_layers=())
    untrained = jax.eval_shape(model.init, jax.random.key(0), X[:1])
    expected = {"dense1": (8, 8), "dense2": (4, 4), "logits": (2, 8)}
    assert {
        layer.path: (layer.weight_bits, layer.input_bits) for layer in costs.cost(model, zeros(untrained), X).layers
    } == expected
    fitted = training.fit(model, Examples(X, Y), epochs=3, batch_size=8, seed=0)
    variables = fitted.variables
    assert int(variables[RANGES]["input:dense1"]["count"]) == 9
    learned = variables["params"]["quantizers"]
    assert set(learned) == {"weight:dense2/kernel", "input:dense2", "weight:logits/kernel", "input:logits"}
    assert float(learned["input:dense2"]["level"]) != 0.5
    outputs = model.apply(variables, X)[0]
    saved = models.load(models.save(tmp_path / "saved", model, variables, X).parent)
    np.testing.assert_allclose(saved.model.apply(saved.variables, X)[0], outputs, rtol=1e-5, atol=1e-6)
    back = integer.unpack(integer.pack(model, variables, X))
    for name, codes in models.weight_codes(model, variables, X).items():
        layer, leaf = name.split("/")
        np.testing.assert_allclose(
            back["params"][layer][leaf], np.asarray(codes.values) * np.asarray(codes.scale), rtol=1e-6
        )


def zeros(shapes):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def test_flipped_bits_need_twos_complement():
    model = models.quantized(models.create("mlp", 2, hidden=()), [("", quantizers.dorefa(4), None)], float_layers=())
    variables = jax.jit(model.init)(jax.random.key(0), X[:1])
    with pytest.raises(ValueError, match="'dorefa4', whose codes are not integers of 2 bits or more in two's"):
        models.with_flipped_bits(model, variables, X[:1], 0.1, 0)
