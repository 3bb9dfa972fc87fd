"""The bound by which a benchmark calls clipped sums wrong: rounding of the format passes, a small fault does not."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scripts.benchmarks.cases import rounding, timing, with_jax

ROWS, SIZES = 16, (20, 24, 3)


def cut(x, bits=10):
    """Cuts the significand of float32 numbers off after some stored bits, as TF32 may do."""
    mask = np.uint32((0xFFFFFFFF << (23 - bits)) & 0xFFFFFFFF)
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.uint32) & mask, jnp.float32)


@jax.custom_vjp
def cut_product(x, w):
    return cut(x) @ cut(w)


cut_product.defvjp(
    lambda x, w: (cut_product(x, w), (x, w)),
    lambda saved, g: (cut(g) @ cut(saved[1]).T, jnp.outer(cut(saved[0]), cut(g))),
)


def case_of(product):
    rng = np.random.default_rng(0)
    shapes = zip(SIZES, SIZES[1:], strict=False)
    weights = [rng.normal(size=shape).astype(np.float32) / np.sqrt(shape[0]).astype(np.float32) for shape in shapes]

    def one(weights, example, key=None):
        x, y = example
        return -jax.nn.log_softmax(product(jnp.tanh(product(x, weights[0])), weights[1]))[y]

    x, y = rng.normal(size=(ROWS, SIZES[0])).astype(np.float32), rng.integers(0, SIZES[-1], ROWS)
    return with_jax.Case(weights, (x, y), one, None)


def clipped_by_hand(case):
    """(each example's clipped gradient, float64 [rows, d]) of the case's float32 weights, by NumPy."""
    (first, second), (x, y) = (
        [np.asarray(each, np.float64) for each in part] for part in (case.variables, case.examples)
    )
    hidden = np.tanh(x @ first)
    scores = np.exp(hidden @ second)
    back = scores / scores.sum(1, keepdims=True) - np.eye(SIZES[-1])[y.astype(int)]
    below = (back @ second.T) * (1 - hidden**2)
    pairs = [np.einsum("bi,bj->bij", *pair).reshape(ROWS, -1) for pair in ((x, below), (hidden, back))]
    each = np.concatenate(pairs, axis=1)
    return each * np.minimum(1, with_jax.CLIP_NORM / np.linalg.norm(each, axis=1))[:, None]


def test_rounding_passes_and_a_small_fault_does_not():
    exact, low = case_of(jnp.matmul), case_of(cut_product)
    shares = clipped_by_hand(exact)
    expected = shares.sum(0)
    chain = rounding.chain_of(with_jax.naive(exact), exact.variables, exact.examples)
    assert chain == (5, SIZES[1])  # two forward, one to the first layer, its gradient, the sum over examples

    def limit(name):
        return rounding.tolerance(chain, name, ROWS, with_jax.CLIP_NORM, np.linalg.norm(expected))

    of_exact, of_low = (with_jax.flat(jax.jit(with_jax.naive(c))(c.variables, c.examples)) for c in (exact, low))
    assert rounding.judged(of_exact, expected, limit("float32")) is None
    assert rounding.judged(of_low, expected, limit("tensorfloat32")) is None
    assert "WRONG" in rounding.judged(of_low, expected, limit("float32"))
    for fault in (1e-3 * shares[3], shares[3]):  # one share a thousandth too long; one that is missing
        assert "WRONG: off by" in rounding.judged(of_exact - fault, expected, limit("float32"))
    assert "WRONG" in rounding.judged(of_low - shares[3], expected, limit("tensorfloat32"))
    assert limit("float32") < 1e-5 < limit("tensorfloat32") < 0.05


def test_the_bound_by_hand_and_the_format_of_each_device():
    chain = rounding.Chain(3, 256)
    of_rows = 1 + 4 * 0.5 / 2  # sqrt(16) shares of length 0.5, over a sum of length 2
    np.testing.assert_allclose(rounding.tolerance(chain, "bfloat16", 16, 0.5, 2.0), 3 * (2**-6 + 2**-20) * of_rows)
    np.testing.assert_allclose(rounding.tolerance(chain, "float32", 16, 0.5, 2.0), 3 * 18 * 2**-24 * of_rows)
    formats = {("gpu", None): "tensorfloat32", ("tpu", None): "bfloat16", ("gpu", "highest"): "float32"}
    formats |= {("cpu", None): "float32", ("cpu", "bfloat16"): "float32", ("gpu", "bfloat16"): "bfloat16"}
    assert {each: rounding.format_of(*each) for each in formats} == formats
    with pytest.raises(ValueError, match="'BF16_BF16_F32_X3' is not judged here; set one of"):
        rounding.format_of("gpu", "BF16_BF16_F32_X3")


def test_convolutions_and_loops_are_counted():
    def function(x, k, w):
        y = jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.lax.scan(lambda c, _: (c * 2, None), y.reshape(2, -1) @ w, None, length=3)[0]

    assert rounding.chain_of(function, jnp.ones((2, 2, 2, 5)), jnp.ones((3, 3, 5, 1)), jnp.ones((4, 6))) == (2, 45)


def test_a_way_that_is_wrong_in_float32_alone_is_not_timed():
    inside = []

    @contextlib.contextmanager
    def exactly(key):
        inside.append(key)
        yield
        inside.pop()

    ways = {("ours", name): lambda name=name: lambda: (name, bool(inside)) for name in ("right", "wrong")}

    def wrong(key, result, in_float32=False):
        assert result[1] == in_float32
        return "WRONG" if result[0] == "wrong" and in_float32 else None

    ready, broken = timing.checked(ways, wrong, exactly)
    assert list(ready) == [("ours", "right")] and broken == {("ours", "wrong"): "WRONG"}
