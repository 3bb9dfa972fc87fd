"""The private step as it is lowered for a GPU: nothing in it waits for the host."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy
from gecko_jax.types import Batch

MLP = models.create("mlp", 10, hidden=(8,))
SLOTS = 300
BATCH = Batch(np.zeros((SLOTS, 6), np.float32), np.zeros(SLOTS, np.int32), np.ones(SLOTS, np.float32))


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def step_text(platform):
    gradients = privacy.private_gradients(
        privacy.example_loss(MLP, losses.cross_entropy()), clippings.flat(1.0), 1.0, expected_batch_size=200
    )
    shapes = jax.eval_shape(MLP.init, jax.random.key(0), BATCH.x)
    return jax.jit(gradients).trace(shapes, BATCH, jax.random.key(0)).lower(lowering_platforms=(platform,)).as_text()


def test_a_step_for_cuda_has_no_branch_no_loop_and_no_transfer(gpu):
    text = step_text("cuda")
    assert "stablehlo.dot_general" in text
    for name in ("case", "if", "while", "send", "recv", "infeed", "outfeed"):
        assert not re.search(rf"stablehlo\.{name}\b", text), name
    assert set(re.findall(r"custom_call @(\w+)", text)) <= {"cu_threefry2x32_ffi"}  # a kernel; no callback


def test_a_step_for_a_cpu_chooses_its_size_in_one_program():
    text = step_text("cpu")
    assert re.search(r"stablehlo\.case\b", text) and len(set(re.findall(r"tensor<(\d+)x8xf32>", text))) >= 4


def test_rows_that_are_not_finite_are_left_out_without_a_branch(gpu):
    """A factor of 0 would not do: 0 * NaN is NaN. One matrix, from its factors and from gradients that are formed."""
    x = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    x[[1, 4], 2, 0] = np.nan, np.inf
    rule, weights = clippings.flat(1.0), jnp.full((4, 2), 0.5)
    gradients = np.ones((6, 1, 2)) * x.sum(1, dtype=np.float64)[:, :, None]
    finite = gradients[[0, 2, 3, 5]]
    norms = np.linalg.norm(finite.reshape(4, -1), axis=1)
    expected = (finite * np.minimum(1, 1 / norms)[:, None, None]).sum(0)
    for method in ("bookkeeping", "vmap"):
        total, _ = jax.jit(privacy.clipped_sum(lambda w, row, key: jnp.sum(row @ w), rule, method))(weights, x)
        np.testing.assert_allclose(total, expected, rtol=1e-5)
