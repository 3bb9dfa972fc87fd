"""What is kept never depends on what surrounded the first call: a tool that replaces layers, interceptors, settings."""

from __future__ import annotations

import contextlib
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, quantizers, surroundings, training

KEY, X = jax.random.key(0), jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(6, name="one")(x))
        x = nn.tanh(nn.Dense(6, name="two")(x))
        return nn.Dense(3, name="three")(x)


@functools.cache
def variables():
    return models.from_linen(Net()).init(KEY, X)


def binary_net(inputs):
    binary = quantizers.binary()
    return models.quantized(models.from_linen(Net()), [("", binary, binary if inputs else None)], ())


def signs(w):
    return np.where(np.asarray(w) >= 0, 1.0, -1.0)


def by_hand(inputs):
    """`Net` with binary weights and, if `inputs`, binary inputs."""
    h = np.asarray(X, np.float64)
    for name in ("one", "two", "three"):
        layer = variables()["params"][name]
        h = (signs(h) if inputs else h) @ signs(layer["kernel"]) + np.asarray(layer["bias"])
        h = np.tanh(h) if name != "three" else h
    return h


@contextlib.contextmanager
def replaced_call(wrap=lambda call: call):
    """What a converter does: nn.Dense.__call__ is a function of its own, which Flax does not wrap."""
    before = nn.Dense.__call__

    def call(self, x):
        params = self.variables["params"]
        return x @ params["kernel"] + params["bias"][None]

    nn.Dense.__call__ = wrap(call)
    try:
        yield
    finally:
        nn.Dense.__call__ = before


def replaced_call_under_its_name():
    """The same by functools.wraps, which copies the mark that Flax leaves on its own."""
    return replaced_call(functools.wraps(nn.Dense.__call__))


@contextlib.contextmanager
def replaced_class():
    class Other(nn.Module):
        features: int

        def __call__(self, x):
            params = self.variables["params"]
            return x @ params["kernel"] + params["bias"][None]

    before, nn.Dense = nn.Dense, Other
    try:
        yield
    finally:
        nn.Dense = before


@contextlib.contextmanager
def short_circuited():
    """An interceptor that computes the whole network by itself, so that none inside of it sees a layer."""

    def intercept(next_fun, args, kwargs, context):
        if not isinstance(context.module, Net):
            return next_fun(*args, **kwargs)
        h, params = args[0], context.module.variables["params"]
        for name in ("one", "two", "three"):
            h = h @ params[name]["kernel"] + params[name]["bias"][None]
            h = jnp.tanh(h) if name != "three" else h
        return h

    with nn.intercept_methods(intercept):
        yield


TOOLS = [replaced_call, replaced_call_under_its_name, replaced_class, short_circuited]


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_first_call_under_another_tool_leaves_nothing_behind(tool, inputs):
    model, _ = binary_net(inputs), variables()
    with tool():
        if inputs and tool is not replaced_class:  # weights are quantized outside of the layers, inputs within
            with pytest.raises(ValueError, match="inputs of one, three, two were not quantized.*stands in their place"):
                model.apply(variables(), X)
        else:
            np.testing.assert_allclose(model.apply(variables(), X)[0], by_hand(inputs), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.apply(variables(), X)[0], by_hand(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_later_call_under_another_tool_is_right_or_refused(tool, inputs):
    model = binary_net(inputs)
    model.apply(variables(), X)
    with tool():
        if not inputs:  # weights are quantized outside of the layers
            np.testing.assert_allclose(model.apply(variables(), X)[0], by_hand(False), rtol=1e-4, atol=1e-4)
            return
        if tool is replaced_class:  # a layer like any other, seen as such
            np.testing.assert_allclose(model.apply(variables(), X)[0], by_hand(True), rtol=1e-4, atol=1e-4)
            return
        with pytest.raises(ValueError, match="inputs of one, three, two were not quantized.*stands in their place"):
            model.apply(variables(), X)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_list_of_layers_is_the_model_s_own(tool):
    model, _ = models.from_linen(Net()), variables()
    with tool():
        under = models.trace(model, variables(), X)
    assert [(call.path, call.kind) for call in under] == [("one", "Dense"), ("two", "Dense"), ("three", "Dense")]
    assert models.trace(model, variables(), X) == under


def halved(next_fun, args, kwargs, context):
    y = next_fun(*args, **kwargs)
    return y / 2 if isinstance(context.module, nn.Dense) else y


@pytest.mark.parametrize("first", [False, True])
def test_compiled_predictions_are_apart_from_those_under_an_interceptor(first):
    model = models.from_linen(Net())

    def expected(under):
        with nn.intercept_methods(halved) if under else contextlib.nullcontext():
            return np.asarray(model.apply(variables(), X)[0])

    for under in (first, not first, first):
        with nn.intercept_methods(halved) if under else contextlib.nullcontext():
            actual = training.predict(model, variables(), X)
        np.testing.assert_allclose(actual, expected(under), rtol=1e-5, atol=1e-6)


def test_compiled_predictions_are_apart_from_those_of_a_replaced_layer():
    model, expected = models.from_linen(Net()), models.from_linen(Net()).apply(variables(), X)[0]
    before = nn.Dense.__call__
    nn.Dense.__call__ = lambda self, x: jnp.zeros((*x.shape[:-1], self.features))
    try:
        assert not training.predict(model, variables(), X).any()
    finally:
        nn.Dense.__call__ = before
    np.testing.assert_allclose(training.predict(model, variables(), X), expected, rtol=1e-5, atol=1e-6)


def test_gradient_paths_are_those_of_the_call():
    """What a private run gives no noise: an interceptor that cuts a path in one call cuts none in the next."""
    from gecko_jax.privacy.per_example.paths import paths_of

    def loss(variables, x):
        return models.from_linen(Net()).apply(variables, x)[0].sum()

    def cut(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        return jax.lax.stop_gradient(y) if context.module.name == "two" else y

    with nn.intercept_methods(cut):
        assert sum(paths_of(loss, variables(), X)) == 2
    assert sum(paths_of(loss, variables(), X)) == 6


class Kept(nn.Module):
    """Its program is kept by nn.jit, from one apply to the next."""

    @nn.jit
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="dense")(x)


class Twice(nn.Module):
    def setup(self):
        self.kept = Kept()

    def __call__(self, x):
        return self.kept(x)


@pytest.mark.parametrize("module, name", [(Kept(), ()), (Twice(), ("kept",))])
def test_programs_that_layers_keep_are_not_shared_with_the_float_model(module, name):
    plain = models.from_linen(module)
    result = plain.init(KEY, X)
    layer = functools.reduce(lambda tree, part: tree[part], (*name, "dense"), result["params"])
    kernel, floats = np.asarray(layer["kernel"]), np.asarray(X)
    once = models.quantized(plain, [("", None, quantizers.binary())], ())
    grid = models.quantized(plain, [("", None, quantizers.uniform(2, max_abs=0.5))], ())
    for _ in range(2):
        np.testing.assert_allclose(plain.apply(result, X)[0], floats @ kernel, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(once.apply(result, X)[0], signs(floats) @ kernel, rtol=1e-4, atol=1e-5)
        steps = np.round(np.clip(floats / 0.5, -1, 1)) * 0.5
        np.testing.assert_allclose(grid.apply(result, X)[0], steps @ kernel, rtol=1e-4, atol=1e-5)


class Helped(nn.Module):
    """A module whose helper computes outside of any scope."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(Scale(2.0)(x))


class Scale(nn.Module):
    by: float

    def __call__(self, x):
        return Unbound(parent=None).twice(x) * self.by / 2


class Unbound(nn.Module):
    def twice(self, x):
        return 2 * x


def test_modules_outside_of_any_scope_pass():
    model = models.quantized(models.from_linen(Helped()), [("", quantizers.binary(), quantizers.binary())], ())
    model.apply(model.init(KEY, X), X)


def test_a_learned_input_inside_a_program_of_its_own_is_refused():
    def learned():
        halves = quantizers.uniform(4, max_abs=1.0)
        return halves._replace(init=lambda x: {"s": jnp.abs(x).max()}, apply=lambda state, x, key=None: x * state["s"])

    model = models.quantized(models.from_linen(Kept()), [("", None, learned())], ())
    layer = {"kernel": jnp.ones((5, 3)), "bias": jnp.zeros(3)}
    for call in (lambda: model.init(KEY, X), lambda: model.apply({"params": {"dense": layer}}, X)):
        with pytest.raises(ValueError, match="'uniform4' at 'dense' learns a state, and that layer runs inside nn.jit"):
            call()


def test_what_surrounds_a_call_is_seen_and_put_back():
    assert surroundings.surroundings() is None
    with nn.intercept_methods(halved):
        assert surroundings.interceptors() == (halved,)
        with surroundings.plain():
            assert surroundings.surroundings() is None
        assert surroundings.interceptors() == (halved,)
    for tool, key in ((replaced_call, ("Dense", "__call__")), (replaced_class, ("Dense", ""))):
        with tool():
            before = surroundings.replaced()
            assert key in [name for name, _ in before]
            with surroundings.plain():
                assert surroundings.surroundings() is None
            assert surroundings.replaced() == before
    assert surroundings.replaced() == ()


class Typed(nn.Module):
    """What it gives out depends on a setting of JAX."""

    def __call__(self, x):
        return x[:, : 2 if jnp.zeros(()).dtype == jnp.float32 else 3]


def test_another_setting_is_another_trace():
    model = models.from_linen(Typed())
    assert models.logits_shape(model, {"params": {}}, X) == (4, 2)
    with jax.enable_x64(True):
        assert models.logits_shape(model, {"params": {}}, X) == (4, 3)
    assert models.logits_shape(model, {"params": {}}, X) == (4, 2)
