"""The format of products: a share stays within the bound though its factors are rounded once more."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from test_clipped_sum import compiled

from gecko_jax import clippings
from gecko_jax.privacy.per_example import sites
from gecko_jax.privacy.per_example.clipped import clipped_sum

B, T, D = 6, 4, 16
DROPPED_BITS = {"tensorfloat32": 13, "bfloat16": 16}  # of float32's 23
BOUND = 0.1


def dense(w, row, key):
    return jnp.sum(row["c"] * (row["x"] @ w))


def tied(w, row, key):
    return dense(w, row, key) + jnp.sum(row["h"] * (row["z"] @ w.T))


def cut(x, precision):
    """Float32 numbers without the bits that a format drops, as a unit that cuts off instead of rounding."""
    mask = np.uint32(0xFFFFFFFF << DROPPED_BITS[precision] & 0xFFFFFFFF)
    return (np.asarray(x, np.float32).view(np.uint32) & mask).view(np.float32).astype(np.float64)


def batch_of(rows):
    """Examples whose terms nearly cancel; the last has no other rows to cancel with."""
    rng = np.random.default_rng(3)
    batch = {name: rng.normal(size=(B, rows, D)).astype(np.float32) for name in "xchz"}
    if rows > 1:
        for left, right in ("xc", "hz"):
            batch[left][:, 1] = batch[left][:, 0] * (1 + 3e-3 * rng.normal(size=(B, D)))
            batch[right][:, 1] = -batch[right][:, 0]
            batch[left][:, 2:] *= 1e-2
    return batch


def lengths_of_shares(loss, batch, norms, precision):
    """Lengths of factor * gradient, by hand, with both factors of each product cut."""
    factors = BOUND / np.maximum(np.asarray(norms, np.float64), BOUND)
    pairs = ("xc", "hz") if loss is tied else ("xc",)
    shares = 0
    for left, right in pairs:
        scaled = cut(factors[:, None, None] * batch[right], precision)
        shares = shares + np.einsum("bti,btj->bij", cut(batch[left], precision), scaled)
    return np.linalg.norm(shares.reshape(B, -1), axis=1)


@pytest.mark.parametrize("loss, rows", [(dense, 1), (dense, T), (tied, 3)], ids=["one row", "rows", "tied"])
def test_no_share_exceeds_the_bound_in_a_low_format(loss, rows):
    batch, start = batch_of(rows), jnp.zeros((D, D))

    def norms(batch):
        formats = (None, *DROPPED_BITS)
        return [clipped_sum(loss, clippings.flat(BOUND), "bookkeeping", None, p)(start, batch)[1] for p in formats]

    exact, *raised = compiled(norms)(batch)
    for precision, each in zip(DROPPED_BITS, raised, strict=True):
        unit = 2.0 ** (DROPPED_BITS[precision] - 23)
        assert (lengths_of_shares(loss, batch, each, precision) <= BOUND * (1 + 1e-6)).all()
        np.testing.assert_array_less(exact, each)
        if rows == 1:
            np.testing.assert_allclose(each, np.asarray(exact) * (1 + unit) ** 2, rtol=1e-6)
    if rows > 1:  # the norms of float32 would not do
        assert (lengths_of_shares(loss, batch, exact, "bfloat16") > BOUND * 1.01).any()


def test_float32_changes_no_norm_and_what_is_not_a_format_is_refused():
    batch, start = batch_of(T), jnp.zeros((D, D))
    norms = compiled(lambda b: [clipped_sum(dense, clippings.flat(1.0), precision=p)(start, b)[1] for p in (None, "float32")])  # fmt: skip  # noqa: E501
    plain, named = norms(batch)
    np.testing.assert_array_equal(plain, named)
    with pytest.raises(ValueError, match="precision='tf32'.*tensorfloat32"):
        clipped_sum(dense, clippings.flat(1.0), precision="tf32")


def test_rounded_sums_are_bounded_by_hand():
    """One example: |sum| = 0 of two terms of length 1 and 2 would be 0; rounding may leave 3 shares of it."""
    from gecko_jax.privacy.per_example.precision import computed_in

    lengths = np.asarray([[[1.0, 2.0], [2.0, 4.0]]], np.float32)  # products of the lengths 1 and 2
    with computed_in("bfloat16"):
        raised = sites.with_rounded_sums(jnp.zeros(1), jnp.asarray(lengths))
    np.testing.assert_allclose(raised, (3 * ((1 + 2.0**-7) ** 2 - 1)) ** 2, rtol=1e-6)
