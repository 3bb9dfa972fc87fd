"""What cannot be frozen is refused with the layer's path and what to do."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from gecko_jax import integer, models, quantizers
from gecko_jax.integer.freezing import weights
from gecko_jax.types import Codes

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
IMAGES = np.random.default_rng(0).normal(size=(4, 4, 4, 2)).astype(np.float32)


class Around(nn.Module):
    """A dense layer around some step, which stands in a layer of its own."""

    step: object

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6, name="before")(x)
        return nn.Dense(3, name="after")(Inner(self.step, name="inner")(x))


class Inner(nn.Module):
    step: object

    @nn.compact
    def __call__(self, x):
        return self.step(x)


def frozen(module, x=X, rules=None, change=lambda variables: variables):
    model = models.from_linen(module)
    model = models.quantized(model, rules, float_layers=()) if rules else model
    return integer.freeze(model, change(model.init(jax.random.key(0), x)), x)


@pytest.mark.parametrize(
    "step, named",
    [
        (nn.gelu, "layer 'inner' .*'tanh'|layer 'inner' .*'integer_pow'|layer 'inner' .*data"),
        (nn.softmax, "layer 'inner' .*'reduce_max'"),
        (lambda x: x * x, "layer 'inner' .*'mul'"),
        (lambda x: nn.LayerNorm(name="norm")(x), "layer 'inner/norm' .*LayerNorm"),
        (lambda x: x[:, ::-1], "layer 'inner' .*'rev'"),
        (lambda x: jax.numpy.where(x > 0, x, 0.1 * x), "layer 'inner' .*'select_n'"),
        (lambda x: jax.numpy.where(x > 0, 1.0, 0.0), "layer 'inner' .*-a and \\+a"),
        (lambda x: jax.numpy.clip(x, -np.arange(1.0, 7)[None], 1.0), "layer 'inner' clips each channel"),
        (lambda x: jax.numpy.round(300 * x), "layer '(inner|after)' rounds to the integers"),
        (lambda x: x / jax.numpy.zeros(()), "layer 'inner' .*divides by 0"),
    ],
    ids="gelu softmax square layernorm reversed leaky half_bit bounds fine_grid zero".split(),
)
def test_a_step_that_integers_have_not_is_named_with_its_layer(step, named):
    with pytest.raises(ValueError, match=named):
        frozen(Around(step))


def test_a_range_that_was_never_calibrated_is_named():
    def dead(variables):
        params = variables["params"]
        return {"params": {**params, "before": {**params["before"], "bias": params["before"]["bias"] - 1e6}}}

    with pytest.raises(ValueError, match=r"layer 'after' has activations from 0 to 0 .*never calibrated"):
        frozen(Around(nn.relu), change=dead)


def test_a_sum_that_leaves_int32_is_named():
    wide = np.ones((2, 70_000), np.float32)
    with pytest.raises(ValueError, match=r"layer 'layers_0' adds products up to 2,[0-9,]+, and the int32 sum holds"):
        frozen(nn.Sequential([nn.Dense(1)]), wide, change=two_valued)


def two_valued(variables):
    return jax.tree.map(lambda leaf: np.where(np.arange(leaf.size) > 9, 0.3, 0.1).reshape(leaf.shape), variables)


def test_an_image_without_a_pixel_is_refused():
    with pytest.raises(ValueError, match="makes an image without a pixel, \\(0, 0, 3\\)"):
        frozen(nn.Conv(3, (5, 5), padding="VALID"), IMAGES)


def test_codes_that_cannot_be_negated_become_int8_afresh():
    codes = Codes(np.array([[-128], [3]], np.int8), np.array([[0.5]]), 8)
    assert weights.find_codes(codes.values * 0.5, [codes]) is None
    assert weights.find_codes(codes.values * 0.5, [codes._replace(values=np.array([[-127], [3]], np.int8))]) is None
    good = codes._replace(values=np.array([[-127], [3]], np.int8))
    assert weights.find_codes(good.values * 0.5, [codes, good]).values.tolist() == [[-127], [3]]


def test_bits_are_not_bordered_with_zeros():
    class Padded(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = jax.numpy.where(x >= 0, 1.0, -1.0)
            return nn.Conv(2, (3, 3), name="zeros")(x).mean((1, 2))

    with pytest.raises(ValueError, match="layer 'zeros' pads with 0, .*pad -1 and \\+1 with \\+1"):
        frozen(Padded(), IMAGES)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(x=X[:0]), "calibration_x is empty"),
        (dict(x=np.where(X > 9, X, np.nan)), "calibration_x holds"),
        (dict(x=X.astype(int)), "calibration_x is int"),
        (dict(x=X[0]), "calibration_x is .* of 1 axes"),
        (dict(variables=[1]), "variables are a list"),
        (dict(variables={"params": {"kernel": np.full((6, 2), np.nan)}}), "NaN or an infinity in params/kernel"),
        (dict(model=nn.Dense(2)), "model is a Dense"),
        (dict(model=models.from_linen(nn.Dense(2))._replace(apply=lambda v, x, **_: (x.sum(), {}))), "model returns"),
        (
            dict(model=models.from_linen(nn.Dense(2))._replace(apply=lambda v, x, **_: (X, {}))),
            "computes nothing of its inputs",
        ),
    ],
    ids="empty nan integers one_row variables broken module scalar constant".split(),
)
def test_bad_arguments_are_refused(arguments, message):
    model = models.from_linen(nn.Dense(2))
    chosen = dict(model=model, variables={"params": {"kernel": np.ones((6, 2)), "bias": np.ones(2)}}, x=X) | arguments
    with pytest.raises(ValueError, match=message):
        integer.freeze(chosen["model"], chosen["variables"], chosen["x"])


def test_codes_that_are_not_small_integers_are_refused():
    with pytest.raises(ValueError, match="layer 'layers_0' has weights whose codes are float32"):
        frozen(nn.Sequential([nn.Dense(2)]), rules=[("layers_0", quantizers.ttq(), None)])


def test_a_run_takes_codes_or_floats_of_its_shape():
    graph = frozen(nn.Dense(2))
    for x, message in [(X[:, :5], r"x has shape \(4, 5\); expected \('b', 6\)"), (X.astype("uint8"), "x is uint8")]:
        with pytest.raises(ValueError, match=message):
            graph.run(x)
    with pytest.raises(ValueError, match=r"model returns \(4, 3\)"):
        graph.gap(models.from_linen(nn.Dense(3)), {"params": {"kernel": np.ones((6, 3)), "bias": np.ones(3)}}, X)
