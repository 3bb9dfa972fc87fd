"""What "auto" takes on an accelerator: one batch if it fits, vmap if it ties, and a program without the host."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_clipped_sum import check_exact

from gecko_jax import clippings, devices
from gecko_jax.privacy.per_example import choice
from gecko_jax.privacy.per_example.clipped import clipped_sum

ROWS, WIDE = 16, 8


class Card:
    """A device of some bytes, of which some are in use."""

    def __init__(self, limit, in_use=0):
        self.limit, self.in_use = limit, in_use

    def memory_stats(self):
        return self.limit and {"bytes_limit": self.limit, "bytes_in_use": self.in_use}


@pytest.fixture
def card(monkeypatch):
    def install(*memory):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(jax, "local_devices", lambda: [Card(*memory)])

    return install


def dense(params, example):
    return (jnp.sum(example @ params),)


BYTES = 4 * (5 + 1 + 5)  # of x @ w its 5 numbers, their sum, and 5 cotangents; no gradient is formed
BATCH = np.ones((100, 7), np.float32)


@pytest.mark.parametrize(
    "memory, rows",
    [((2 * 100 * BYTES,), 100), ((2 * 100 * BYTES - 2,), 64), ((2 * BYTES,), 1), ((8,), 1), ((None,), 100)],
)
def test_all_at_once_if_they_fit_half_of_the_memory(card, memory, rows):
    card(*memory)
    assert choice.choose("auto", None, dense, jnp.ones((7, 5)), BATCH, 100) == ("bookkeeping", rows)


def test_what_is_free_lowers_the_choice_with_a_warning(card):
    card(2 * 100 * BYTES, 100 * BYTES)
    assert choice.fitting(BYTES, 100) == 100
    card(2 * 100 * BYTES, 100 * BYTES + 1)
    with pytest.warns(UserWarning, match="32 examples are computed at a time instead of 100.*microbatch=32"):
        assert choice.fitting(BYTES, 100) == 32


def test_models_side_by_side_share_the_memory(card):
    card(2 * 64 * BYTES)
    with devices.side_by_side(4):
        assert choice.fitting(BYTES, 64) == 16
    assert choice.fitting(BYTES, 64) == 64
    with pytest.raises(ValueError, match="models=0 must be at least 1"), devices.side_by_side(0):
        pass


def layers(params, example):
    """One row by a matrix, many rows by a small one, a table's rows, and a scale that is a factor of each number."""
    rows = jnp.tanh(example["rows"] @ params["rows"]) * params["scale"][None]
    return (jnp.sum(example["row"] @ params["row"]) + jnp.sum(rows) + jnp.sum(params["table"][example["index"]]),)


def test_formed_gradients_are_counted_and_make_vmap_the_way(card):
    shapes = {"row": (WIDE, 3), "rows": (4, 4), "scale": (4,), "table": (9, 2)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    batch = {"row": np.ones((ROWS, WIDE), np.float32), "rows": np.ones((ROWS, 64, 4), np.float32)}
    batch["index"] = np.ones((ROWS, 2), np.int32)
    formed = dict(zip(sorted(shapes), choice.formed_leaves(layers, params, batch), strict=True))
    assert formed == {"row": False, "rows": True, "scale": True, "table": False}
    card(None)
    assert choice.choose("auto", None, layers, params, batch, ROWS).method == "bookkeeping"  # 20 of 62 numbers
    small = params | {"row": jnp.ones((WIDE, 1))[:2], "table": jnp.ones((2, 2))}  # 20 of 26
    batch = batch | {"row": batch["row"][:, :2]}
    assert choice.choose("auto", None, layers, small, batch, ROWS).method == "vmap"
    assert choice.choose("bookkeeping", 3, layers, small, batch, ROWS) == ("bookkeeping", 3)
    assert choice.choose("auto", 3, layers, small, batch, ROWS) == ("vmap", 3)
    values = choice.bytes_of_one(layers, small, batch)
    card(2 * (ROWS // 2) * (values + 4 * 26))  # by vmap all gradients are in memory
    assert choice.choose("auto", None, layers, small, batch, ROWS) == ("vmap", ROWS // 2)


def test_the_ways_of_an_accelerator_give_the_same_sums(card):
    card(2**30)
    check_exact("ghosts", "auto")


def two_layers(params, row, key):
    return jnp.sum(jnp.tanh(row @ params["first"]) @ params["second"])


def program(**options):
    """The clipped sum of two layers, lowered for an NVIDIA card."""
    params = {"first": jnp.ones((WIDE, 4)), "second": jnp.ones((4, 3))}
    total = jax.jit(lambda p, x, w: clipped_sum(two_layers, clippings.flat(1.0), **options)(p, x, weight=w))
    traced = total.trace(params, np.ones((ROWS, WIDE), np.float32), np.ones(ROWS, np.float32))
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def test_the_program_for_a_card_asks_the_host_nothing_and_sums_in_float32(card):
    assert "stablehlo.case" in program()  # a CPU has a branch for examples that are not finite
    card(2**30)
    text = program()
    assert not any(word in text for word in ("stablehlo.case", "stablehlo.if", "stablehlo.while", "callback", "infeed"))
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    exact = [line for line in products if "HIGHEST, HIGHEST" in line]
    assert [line.rsplit("->")[1].strip() for line in exact] == ["tensor<8x4xf32>", "tensor<4x3xf32>"]  # the two sums
    assert len(products) > len(exact)  # those of the loss and its gradient are as JAX has them
    text = program(precision="bfloat16")
    assert "stablehlo.dot_general" in text and "HIGHEST" not in text
