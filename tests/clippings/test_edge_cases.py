"""The table of edge cases in the package's docstring: the factor at 0, tiny, huge, infinite and NaN norms."""

import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings

R, Z, GAMMA = 2.0, 8.0, 0.25
NORMS = [0.0, 1e-30, 1e30, np.inf, np.nan]
TABLE = {
    "flat": (clippings.flat(R), [1, 1, R / 1e30]),
    "quantile": (clippings.quantile(R).at(jnp.float32(R)), [1, 1, R / 1e30]),
    "per_layer": (clippings.per_layer({"": R}), [1, 1, R / 1e30]),
    "global_norm": (clippings.global_norm(R, Z), [R / Z, R / Z, 0]),
    "global_adapt": (clippings.global_adapt(R, Z).at(jnp.float32(Z)), [R / Z, R / Z, R / 1e30]),
    "automatic": (clippings.automatic(R, GAMMA), [R / GAMMA, R / GAMMA, R / 1e30]),
    "automatic_vanilla": (clippings.automatic(R, variant="vanilla"), [R / 1e-12, R / 1e-12, R / 1e30]),
    "psac": (clippings.psac(R, 0.1), [R, R, R / 1e30]),
}


@pytest.mark.parametrize("name", TABLE)
def test_factors_at_the_edges_are_those_of_the_table(name):
    rule, expected = TABLE[name]
    factors = rule.scale(jnp.asarray(NORMS, jnp.float32)[:, None]).ravel()
    np.testing.assert_allclose(factors, [*expected, 0, 0], rtol=1e-6)


def test_every_rule_stands_in_the_table():
    documented = clippings.__doc__.partition("Edge cases")[2]
    assert set(TABLE) == set(clippings.CLIPPINGS) and all(f"{name}" in documented for name in TABLE)


def test_one_group_that_is_not_finite_leaves_the_others_their_factor():
    rule = clippings.per_layer({"a": R, "b": R})
    assert rule.scale(jnp.asarray([[np.inf, 1.0], [np.nan, 4.0]])).tolist() == [[0, 1], [0, 0.5]]
