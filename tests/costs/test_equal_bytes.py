"""A wide transformer compressed to the bytes of a small one: what is removed, what it weighs, what it computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, models

X = np.random.default_rng(0).integers(1, 32, (3, 6)).astype(np.int32)
WIDE = models.create("transformer", 32, layers=1, width=16, heads=2, max_length=6, mlp_width=40)
VARIABLES = jax.jit(WIDE.init)(jax.random.key(0), X)


def logits(model, variables):
    return np.asarray(jax.jit(model.apply)(variables, X)[0])


def test_weak_units_are_removed_and_nothing_changes_if_they_do_nothing():
    """Units whose row of `down` is zero go first: the narrower network computes the same, with fewer weights."""
    mlp = VARIABLES["params"]["block0"]["mlp"]
    idle = np.isin(np.arange(40), [0, 7, 8, 39])
    down = {**mlp["down"], "kernel": jnp.where(idle[:, None], 0, mlp["down"]["kernel"])}
    block = {**VARIABLES["params"]["block0"], "mlp": {**mlp, "down": down}}
    params = {**VARIABLES["params"], "block0": block}
    narrow = models.with_mlp_width(WIDE, {"params": params}, 36)
    np.testing.assert_allclose(logits(*narrow), logits(WIDE, {"params": params}), rtol=1e-5, atol=1e-6)
    up = narrow.variables["params"]["block0"]["mlp"]["up"]["kernel"]
    np.testing.assert_array_equal(up, mlp["up"]["kernel"][:, ~idle])
    one = models.with_mlp_width(WIDE, VARIABLES, 1).variables["params"]["block0"]["mlp"]
    norms = np.linalg.norm(np.vstack([mlp["up"]["kernel"], mlp["up"]["bias"][None]]), axis=0)
    strongest = int((norms * np.linalg.norm(mlp["down"]["kernel"], axis=1)).argmax())
    np.testing.assert_array_equal(one["down"]["kernel"][0], mlp["down"]["kernel"][strongest])


def test_candidates_are_as_wide_as_the_budget_allows():
    """The bytes of w-bit codes, by hand: 4-byte words for each array, a float scale for each output."""

    def by_hand(bits, units):
        arrays = [(32, 16, 16), (6, 16, 16), *[(16, 16, 16)] * 4, (16, units, units), (units, 16, 16), (16, 32, 32)]
        weights = sum(4 * int(np.ceil(bits * rows * columns / 32)) + 4 * outputs for rows, columns, outputs in arrays)
        return weights + 4 * (4 * 16 + units + 16 + 6 * 16)  # biases, and three norms of two arrays

    candidates = costs.compressed(WIDE, VARIABLES, X, 3000, bits=(8, 4))
    assert [c.bits for c in candidates] == [4]  # 8 bits never fit
    exact = costs.cost(candidates[0].model, candidates[0].variables, X).deployed_bytes
    assert candidates[0].deployed_bytes == exact
    for each in candidates:
        assert each.deployed_bytes.value == by_hand(each.bits, each.mlp_width) <= 3000
        assert each.mlp_width < 40 and by_hand(each.bits, each.mlp_width + 1) > 3000
        assert np.isfinite(logits(each.model, each.variables)).all()
    narrow = models.with_mlp_width(WIDE, VARIABLES, candidates[0].mlp_width)
    difference = np.abs(logits(candidates[0].model, candidates[0].variables) - logits(*narrow)).mean()
    assert 0 < difference < 0.5 * np.abs(logits(*narrow)).mean()  # rounded, not another network


def test_bad_arguments_of_compression():
    mlp = models.create("mlp", 3, hidden=(4,))
    square = models.create("transformer", 32, layers=1, width=16, heads=2, max_length=6, activation="quadratic")
    for call, message in (
        (lambda: costs.compressed(WIDE, VARIABLES, X, 500, bits=(4,)), "max_bytes=500 is below the .* bytes that 4"),
        (lambda: costs.compressed(WIDE, VARIABLES, X, 3000, bits=(16,)), "holds 16; expected 2 to 8, or 32"),
        (lambda: costs.compressed(WIDE, VARIABLES, X, 0), "max_bytes=0"),
        (lambda: models.with_mlp_width(WIDE, VARIABLES, 41), "mlp_width=41 exceeds the 40 units of block0"),
        (lambda: models.with_mlp_width(mlp, {"params": {}}, 4), "parts are removed from a transformer"),
        (
            lambda: models.with_mlp_width(square, jax.eval_shape(square.init, jax.random.key(0), X), 4),
            "the activation of block0 has parameters of its own",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
