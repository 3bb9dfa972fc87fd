"""What a clipped sum promises of every example: its share is bounded, and no other's depends on it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from test_clipped_sum import FLAT, KEY, by_hand, case_of, check_equal, compiled, gradients_of, middle, run

from gecko_jax import clippings
from gecko_jax.privacy.per_example.clipped import clipped, clipped_sum
from gecko_jax.types import Clipping

ROUNDING = 1 + 3e-6
GROUPS = {"kernel": 0.5, "bias|table": 2.0, "scale": 1e-3}
B, WIDE = 4, 8


def rules(names):
    """{name: a rule of the table, an adaptive one at a threshold}."""
    by_name = {name: clippings.CLIPPINGS[name](GROUPS if name == "per_layer" else 0.7) for name in names}
    return {name: rule.at(jnp.float32(1.1)) if hasattr(rule, "at") else rule for name, rule in by_name.items()}


def every_site(params, row, key):
    """Linear in each parameter: a product by ghost norm, a table, gradients that are kept; g and h are cotangents."""
    table = params["table"][row["tokens"]] + params["bias"][None]
    return jnp.sum(row["g"] * (row["x"] @ params["kernel"])) + jnp.sum(row["h"] * table) + 1e-3 * params["scale"]


def with_cast(params, row, key):
    """The same, and a matrix of float32 that the loss casts to the format of its inputs."""
    product = row["x"] @ params["float32_kernel"].astype(row["x"].dtype)
    return every_site(params, row, key) + jnp.sum(row["g"] * product)


def one_of(by_name):
    """(number, sensitivity) -> the rule of that number; numbers are traced, so that one program serves all rules."""
    scales = [rule.scale for rule in by_name.values()]
    groups = next(iter(by_name.values())).groups
    return lambda number, bound: Clipping("one of", lambda t: jax.lax.switch(number, scales, t), bound, groups)


def of_groups(rule, groups):
    """A rule of the whole norm as one of its groups' norms, so that one program serves all rules."""

    def scale(t):
        return jnp.broadcast_to(rule.scale(jnp.sqrt(jnp.sum(t**2, axis=-1, keepdims=True))), t.shape)

    return rule if rule.groups else rule._replace(scale=scale, groups=groups)


def contributions(*names, dtype="float32"):
    """A compiled (batch) -> {rule: (its sensitivity, what each example by itself adds to the sum [b, ...])}."""
    half, wide = dtype != "float32", (WIDE, WIDE)
    shapes = {"kernel": wide, "bias": (2,), "table": (3, 2), "scale": ()} | ({"float32_kernel": wide} if half else {})
    dtypes = {name: "float32" if name == "float32_kernel" else dtype for name in shapes}
    params = {name: jnp.zeros(shape, dtypes[name]) for name, shape in shapes.items()}
    by_name, total = rules(names), clipped(with_cast if half else every_site)
    if half:
        by_name = {name: of_groups(rule, tuple(GROUPS)) for name, rule in by_name.items()}

    def alone(batch):
        results = {}
        for grouped in (False, True):
            chosen = {name: rule for name, rule in by_name.items() if bool(rule.groups) == grouped}
            if not chosen:
                continue
            bounds, make = jnp.stack([jnp.float32(rule.sensitivity) for rule in chosen.values()]), one_of(chosen)

            def one(number, bound, weight, make=make):
                return total(make(number, bound), params, batch, None, weight).sum

            of_rule = jax.vmap(one, in_axes=(None, None, 0))
            sums = jax.vmap(of_rule, in_axes=(0, 0, None))(jnp.arange(len(bounds)), bounds, jnp.eye(B))
            for number, name in enumerate(chosen):
                results[name] = bounds[number], jax.tree.map(lambda leaf: leaf[number], sums)  # noqa: B023
        return results

    return compiled(alone)


# Powers of 10 of x, g and h: squares that vanish; and of what is left of sums that cancel.
UNEVEN = (-19.4, 4.0, 4.0, -9.0), (18.4, 0.0, 0.0, 0.0), (-5.0, -5.0, -5.0, 4.0), (0.0, -4.5, -4.5, -6.0)
HALF_CANCELED = (*UNEVEN[:3], (0.0, -2.0, -1.5, -1.0))


SEEDS = 4, 6  # of the inputs' directions: the compiler chooses how a sum that cancels is rounded, and what shows it


def lengths_of_shares(function, sizes, dtype="float32", seed=SEEDS[0]):
    """{rule: (sensitivity, lengths [b] of the examples' shares)} for inputs and cotangents of these sizes."""
    rng = np.random.default_rng(seed)
    x, g, h = rng.normal(size=(B, 2, WIDE)), rng.normal(size=(B, 2, WIDE)), rng.normal(size=(B, 4, 2))
    *sizes, rests = sizes
    rest = 10.0 ** np.asarray(rests[1:])[:, None]
    x[1:, 1], g[1:, 1] = x[1:, 0] + rest * x[1:, 1], -g[1:, 0]  # terms that cancel but for a rest
    h[1:, 2:] = -h[1:, :2] * (1 + rest[..., None])
    x, g, h = (10.0 ** np.asarray(size)[:, None, None] * each for size, each in zip(sizes, (x, g, h), strict=True))
    with np.errstate(over="ignore"):
        batch = {name: value.astype(jnp.dtype(dtype)) for name, value in {"x": x, "g": g, "h": h}.items()}
    batch["tokens"] = np.asarray([[0, 1, 0, 1], [2, 2, 2, 2], [0, 1, 2, 2], [1, 1, 0, 0]])
    lengths = {}
    for name, (sensitivity, sums) in function(batch).items():
        flat = np.concatenate([np.asarray(leaf, np.float64).reshape(B, -1) for leaf in sums.values()], axis=1)
        lengths[name] = float(sensitivity), np.linalg.norm(flat, axis=1)
    return lengths


def check_sensitivity(function, sizes=UNEVEN, dtype="float32"):
    """No example adds more than the sensitivity, whatever the sizes of inputs and of cotangents."""
    for seed in SEEDS:
        for name, (sensitivity, lengths) in lengths_of_shares(function, sizes, dtype, seed).items():
            assert (lengths <= sensitivity * ROUNDING).all(), f"{name}: {lengths} over {sensitivity}"


@functools.cache
def all_contributions(dtype):
    return contributions(*clippings.CLIPPINGS, dtype=dtype)


def sizes_of(limit):
    return st.tuples(*[st.tuples(*[st.floats(-each, limit)] * B) for each, limit in [(limit, limit)] * 3 + [(6, 0)]])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(sizes_of(20))
@example(UNEVEN)
@example(HALF_CANCELED)
@example(((-20.0, 20.0, -20.0, 20.0), (-20.0, 20.0, 20.0, -20.0), (0.0, 20.0, -20.0, 0.0), UNEVEN[3]))
def test_no_example_adds_more_than_the_sensitivity(sizes):
    check_sensitivity(all_contributions("float32"), sizes)


def check_padding(method="bookkeeping", microbatch=None):
    """Rows of weight 0 add nothing, and what they hold costs no bit of the others."""
    case = case_of("ghosts")
    weight = np.asarray([1, 0, 1, 1, 0], np.float32)
    poisoned = case.batch.x.copy()
    poisoned[1], poisoned[4] = np.nan, np.inf
    clean = run("ghosts", middle("ghosts"), method, microbatch, case.batch._replace(weight=weight))
    other = run("ghosts", middle("ghosts"), method, microbatch, case.batch._replace(weight=weight, x=poisoned))
    check_equal(clean[0], by_hand("ghosts", middle("ghosts"), rows=(0, 2, 3)))
    np.testing.assert_allclose(clean[1], gradients_of("ghosts")[1] * weight, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, clean, other)


@pytest.mark.parametrize("method, microbatch", [("bookkeeping", None), ("bookkeeping", 2), ("vmap", None)])
def test_rows_of_weight_0_add_nothing(method, microbatch):
    check_padding(method, microbatch)


def check_not_finite(name="ghosts", method="bookkeeping"):
    """An example whose gradient is NaN or infinite adds nothing, and leaves the others theirs."""
    batch = case_of(name).batch
    x = batch.x.copy()
    x[1, 0], x[3] = np.nan, np.inf
    total, norms = run(name, middle(name), method, batch=batch._replace(x=x))
    assert list(np.isfinite(norms)) == [True, False, True, False, True]
    check_equal(total, by_hand(name, middle(name), rows=(0, 2, 4)))


@pytest.mark.parametrize("name, method", [("ghosts", "bookkeeping"), ("mlp", "bookkeeping"), ("mlp", "vmap")])
def test_an_example_that_is_not_finite_adds_nothing(name, method):
    check_not_finite(name, method)


def test_what_is_not_finite_stays_with_its_model():
    """Models side by side share the choice of the way, and nothing else."""
    case = case_of("ghosts")
    x = np.stack([case.batch.x] * 2)
    x[1, 3] = np.nan

    def total(x):
        return clipped_sum(case.loss, FLAT.at(middle("ghosts")))(case.variables, case.batch._replace(x=x), KEY)[0]

    both = compiled(jax.vmap(total))(x)
    check_equal(jax.tree.map(lambda leaf: leaf[0], both), by_hand("ghosts", middle("ghosts")))
    check_equal(jax.tree.map(lambda leaf: leaf[1], both), by_hand("ghosts", middle("ghosts"), rows=(0, 1, 2, 4)))


def test_the_order_of_the_examples_does_not_matter():
    order = np.asarray([3, 0, 4, 1, 2])
    case = case_of("ghosts")
    total, norms = run("ghosts", middle("ghosts"))
    other, turned = run("ghosts", middle("ghosts"), batch=jax.tree.map(lambda leaf: leaf[order], case.batch))
    check_equal(other, jax.tree.map(np.asarray, total), 1e-6)
    np.testing.assert_allclose(turned, norms[order], rtol=1e-6)


def check_own_draws(*microbatches):
    """Each example has its own draws, whatever microbatch it falls in: of equal rows, losses differ by these alone."""
    case = case_of("dropout")
    batch = jax.tree.map(lambda leaf: np.repeat(leaf[:1], 5, axis=0), case.batch)
    seen = []
    for microbatch in microbatches:
        full = functools.partial(clipped(case.loss, microbatch=microbatch), FLAT.at(1.0))
        seen.append(compiled(full)(case.variables, batch, KEY).results[0])
    row = jax.tree.map(lambda leaf: leaf[0], batch)
    one = compiled(lambda i: case.loss(case.variables, row, jax.random.fold_in(KEY, i)))
    wanted = [float(one(i)) for i in range(5)]
    assert len(set(wanted)) == 5
    for losses in seen:
        np.testing.assert_allclose(losses, wanted, rtol=1e-6)


def test_an_examples_draws_are_its_own():
    check_own_draws(None, 2, 3)


def training(method="bookkeeping", microbatch=None, steps=3):
    """(variables, batch, key) -> (variables after some steps down the clipped sums, norms [steps, b]), scanned."""
    loss = case_of("dropout").loss

    def run_steps(variables, batch, key):
        def step(params, key):
            total, norms = clipped_sum(loss, FLAT.at(0.5), method, microbatch)({"params": params}, batch, key)
            return jax.tree.map(lambda p, t: p - 0.1 * t, params, total), norms

        return jax.lax.scan(step, variables["params"], jax.random.split(key, steps))

    return run_steps


@pytest.mark.parametrize("microbatch", [None, 2])
def test_models_side_by_side_over_steps_are_the_same_as_one_by_one(microbatch):
    case, weights = case_of("dropout"), np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.float32)
    several = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf]), case.variables)
    batches = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), case.batch)._replace(weight=weights)
    keys = jax.random.split(KEY, 2)
    params, norms = compiled(jax.vmap(training(microbatch=microbatch)))(several, batches, keys)
    one = compiled(lambda params, batch, key: clipped_sum(case.loss, FLAT.at(0.5))({"params": params}, batch, key))
    for i in range(2):
        alone, batch = (jax.tree.map(lambda leaf: leaf[i], tree) for tree in (several["params"], batches))  # noqa: B023
        for number, key in enumerate(jax.random.split(keys[i], 3)):
            total, seen = one(alone, batch, key)
            np.testing.assert_allclose(norms[i, number], seen, rtol=1e-5)
            alone = jax.tree.map(lambda p, t: p - 0.1 * t, alone, total)
        check_equal(jax.tree.map(lambda leaf: leaf[i], params), jax.tree.map(np.asarray, alone))  # noqa: B023


def test_without_jit_it_is_the_same():
    case = case_of("plain")
    total, norms = clipped_sum(case.loss, FLAT.at(middle("plain")))(case.variables, case.batch, KEY)
    check_equal(total, by_hand("plain", middle("plain")))
    assert norms.shape == (5,)


@pytest.mark.parametrize("microbatch", [None, 4])
def test_a_batch_on_four_devices_has_the_same_sum(microbatch):
    case = case_of("ghosts")
    batch = zoo.rows(4, 3, 3, b=8)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    total = jax.jit(clipped_sum(case.loss, FLAT.at(middle("ghosts")), microbatch=microbatch))
    alone = total(case.variables, batch)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    shared = total(
        jax.device_put(case.variables, NamedSharding(mesh, PartitionSpec())), jax.device_put(batch, rows)
    )
    assert len(jax.device_put(batch.x, rows).sharding.device_set) == 4
    check_equal(shared[0], jax.tree.map(np.asarray, alone[0]), 1e-6)
    np.testing.assert_allclose(shared[1], alone[1], rtol=1e-6)


def test_what_is_no_loss_of_one_example_is_refused():
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"shape \(1,\) for one example; .*leave out the axis of examples"):
        clipped_sum(lambda w, row, key: row[None] @ w, clippings.flat(1.0))(jnp.ones(2), rows)
    with pytest.raises(ValueError, match="'steps' has dtype int32; every trained parameter must be real"):
        params = {"w": jnp.ones(2), "steps": jnp.ones((), int)}
        clipped_sum(lambda p, row, key: row @ p["w"], FLAT.at(1.0))(params, rows)
    with pytest.raises(ValueError, match="batch has no rows; .*rows of weight 0"):
        clipped_sum(lambda w, row, key: row @ w, clippings.flat(1.0))(jnp.ones(2), rows[:0])
    with pytest.raises(ValueError, match="'per_layer' has no group for the parameter 'w': its groups are"):
        clipped_sum(lambda p, row, key: row @ p["w"], clippings.per_layer({"bias": 1.0}))({"w": jnp.ones(2)}, rows)
    with pytest.raises(ValueError, match="method='ghost' is not known.* Known: auto, vmap, bookkeeping"):
        clipped_sum(lambda w, row, key: row @ w, clippings.flat(1.0), method="ghost")
    with pytest.raises(ValueError, match="microbatch=0 must be at least 1"):
        clipped_sum(lambda w, row, key: row @ w, clippings.flat(1.0), microbatch=0)
