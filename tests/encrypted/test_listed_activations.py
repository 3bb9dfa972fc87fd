"""Every listed activation is either extracted into a circuit as it is deployed, or refused by the layer's name."""

import jax
import numpy as np
import pytest

from gecko_jax import encrypted, models
from gecko_jax.activations import ACTIVATIONS, create

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, size=(5, 6)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_polynomial_is_extracted_and_all_else_is_refused(name):
    model = models.create("mlp", 3, hidden=(4,), activation=name)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    variables = dict(jax.tree.map(lambda leaf: RNG.uniform(0.3, 1, leaf.shape).astype(np.float32), shapes))
    if "transition" in variables:
        variables["transition"] = jax.tree.map(np.ones_like, variables["transition"])
    if not create(name).polynomial:
        with pytest.raises(ValueError, match="block1"):
            encrypted.extract(model, variables, X[:1])
        return
    values = encrypted.evaluate(encrypted.extract(model, variables, X[:1]), X)
    layers, of_layer = variables["params"], {key: tree.get("block1", {}) for key, tree in variables.items()}
    module = {key: next(iter(tree.values())) for key, tree in of_layer.items() if tree}
    z = X.astype(np.float64) @ layers["dense1"]["kernel"] + layers["dense1"]["bias"]
    h = sum(each * z**power for power, each in enumerate(create(name).coefficients(module)))
    expected = h @ layers["logits"]["kernel"] + layers["logits"]["bias"]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


def test_a_transition_under_way_is_refused():
    model = models.create("mlp", 3, hidden=(4,), activation="quadratic")
    variables = dict(jax.jit(model.init)(jax.random.key(0), X))
    variables["transition"] = jax.tree.map(lambda leaf: 0.5 * leaf, variables["transition"])
    with pytest.raises(ValueError, match="block1"):
        encrypted.extract(model, variables, X[:1])
