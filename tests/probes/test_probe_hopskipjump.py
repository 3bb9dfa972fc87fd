"""HopSkipJump against distances in closed form: planes and spheres."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.probes import boundary_distance, hopskipjump_draws, hopskipjump_walk, on_host

N, D, CLASSES = 30, 20, 5
NEVER = -1e9  # a bias that no class comes back from


def quadratic(variables, x):
    """Logits x W + b + q |x|^2, of x rounded to `levels` where there are some: one program for most tests."""
    weight, bias, square, levels = variables
    x = x.reshape(len(x), -1)
    x = jnp.where(levels > 0, jnp.round(x * levels) / jnp.maximum(levels, 1), x)
    return x @ weight + bias[None] + (x**2).sum(1)[:, None] * square[None]


def linear(seed=0, d=D, classes=CLASSES, n=N):
    """(variables, x in the middle of 0..1, predicted labels), all planes through the center; CLASSES logits."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(d, CLASSES)).astype(np.float32)
    bias = (-0.5 * weight.sum(0) + np.where(np.arange(CLASSES) < classes, 0, NEVER)).astype(np.float32)
    x = (0.5 + 0.1 * rng.normal(size=(n, d)).clip(-2, 2)).astype(np.float32)
    return (weight, bias, np.zeros(CLASSES, np.float32), np.float32(0)), x, (x @ weight + bias).argmax(1)


def to_planes(variables, x, y):
    """Distance to the nearest of the planes between y and another class."""
    weight, bias, x = (a.astype(np.float64) for a in (*variables[:2], x))
    logits = x @ weight + bias
    margins = logits[np.arange(len(x)), y][:, None] - logits
    norms = np.linalg.norm(weight.T[y][:, :, None] - weight, axis=1)
    return np.where(norms > 0, margins / np.where(norms > 0, norms, 1), np.inf).min(1)


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_planes(classes):
    variables, x, y = linear(classes=classes)
    true = to_planes(variables, x, y)
    results = boundary_distance(quadratic, x, y, 0, variables=variables)
    assert (results >= true * (1 - 1e-4) - 1e-6).all()
    assert (results <= 1.05 * true).all()
    assert results.dtype == np.float64 and true.max() > 4 * true.min() and set(y) == set(range(classes))


def ball(radius, inside, outside):
    """Variables of the model that gives the inside of a ball around 0 one label and the rest another."""
    bias, square = np.full(CLASSES, NEVER, np.float32), np.zeros(CLASSES, np.float32)
    bias[inside], bias[outside], square[inside] = radius**2, 0, -1
    return np.zeros((D, CLASSES), np.float32), bias, square, np.float32(0)


def test_a_sphere_from_within():
    x = np.random.default_rng(1).uniform(-0.4, 0.4, (N, D)).astype(np.float32)
    true = 3.0 - np.linalg.norm(x, axis=1)
    results = boundary_distance(quadratic, x, np.zeros(N, int), 0, bounds=(-3.0, 3.0), variables=ball(3.0, 0, 1))
    assert (results >= true * (1 - 1e-5)).all()
    assert (results <= 1.05 * true).all()


def test_numpy_will_do_and_queries_are_as_many_as_stated_and_within_the_bounds():
    asked = []

    def predict(x):
        asked.append((len(x), x.min(), x.max()))
        return (x.sum(1) > 2.5).astype(int)

    x = np.array([[0.3, 0.0, 0.2, 0.9, 0.7]], np.float32)
    results = boundary_distance(on_host(predict), x, np.array([0]), 0)
    counts, low, high = zip(*asked, strict=True)
    assert 4900 < sum(counts) <= 5000
    assert min(low) == 0 and max(high) == 1
    # Within the bounds the fourth value can grow by .1 alone: the others share what is left of .4.
    true = np.hypot(0.1, 0.3 / np.sqrt(4))
    assert true * (1 - 1e-4) <= results[0] <= 1.03 * true


def test_too_few_queries_are_named_with_what_is_enough():
    variables, x, y = linear()
    with pytest.raises(ValueError, match="queries=100 must be at least (\\d+) for iterations=4") as error:
        boundary_distance(quadratic, x, y, 0, iterations=4, queries=100, variables=variables)
    least = int(str(error.value).split("at least ")[1].split(" ")[0])
    assert (hopskipjump_walk.plan_of(D, 4, least, 100, 1.0, (0.0, 1.0)).groups == 1).all()
    with pytest.raises(ValueError, match=f"must be at least {least}"):
        hopskipjump_walk.plan_of(D, 4, least - 1, 100, 1.0, (0.0, 1.0))


def test_estimates_grow_with_the_root_of_their_number():
    plan = hopskipjump_walk.plan_of(100, 40, 20000, 100, 1.0, (0.0, 1.0))
    wanted = np.sqrt(np.arange(1, 41)) / np.where(np.arange(40) < 3, 4, 1)
    ratio = (plan.groups / wanted)[3:].mean()
    assert (plan.groups >= 1).all() and np.abs(plan.groups - ratio * wanted).max() <= 1.5
    assert plan.search == np.ceil(np.log2(100**1.5))
    assert hopskipjump_walk.plan_of(100, 40, 20000, 100, 64.0, (0.0, 1.0)).search == plan.search - 6


@pytest.mark.parametrize("d", [1, 2, 7, 300])
def test_directions_are_uniform_and_orthogonal(d):
    drawn = hopskipjump_draws.directions(np.random.default_rng(0), 2000 // 16, d)
    assert drawn.shape == (2000, d) and drawn.dtype == np.float32
    product = drawn[:d] @ drawn[:d].T
    np.testing.assert_allclose(product, np.eye(d), atol=1e-5)
    # Each one alone is uniform: any coordinate squared has the mean 1/d; of a sparse w as well as of a dense one.
    for w in (np.eye(d)[0], np.ones(d) / np.sqrt(d)):
        along = drawn @ w
        assert abs(along.mean()) < 4 / np.sqrt(2000 * d)
        assert abs((along**2).mean() * d - 1) < 4 * np.sqrt(2 / 2000)
    if d > 2:  # signs along them tell two parts of w in the right proportion
        w = np.zeros(d)
        w[:2] = 0.8, 0.6
        estimate = np.sign(drawn @ w) @ drawn
        assert abs(estimate[1] / estimate[0] - 0.75) < 0.2 and estimate @ w / np.linalg.norm(estimate) > 0.8


def test_records_begin_from_the_nearest_of_every_label():
    starts = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    labels = np.array([0, 1, 1, 2, 2, 1])
    which = hopskipjump_draws.beginnings(np.array([[0.0], [7.0], [2.9]]), np.array([0, 2, 1]), starts, labels)
    # Rounds of the nearest of each label; the first one again where no more have another label.
    assert which.tolist() == [[1, 3, 2, 4, 5, 1], [5, 0, 2, 1, 5, 5], [3, 0, 4, 3, 3, 3]]
    assert hopskipjump_draws.beginnings(np.zeros((1, 1)), np.array([3]), starts, 0 * labels + 3).shape == (1, 6)


def test_a_misclassified_record_has_no_distance():
    variables, x, y = linear()
    wrong = np.arange(N) % 3 == 0
    right = boundary_distance(quadratic, x, y, 0, variables=variables)
    results = boundary_distance(quadratic, x, np.where(wrong, (y + 1) % CLASSES, y), 0, variables=variables)
    np.testing.assert_array_equal(results, np.where(wrong, 0, right))
    assert (right > 0).all()


def test_labels_alone_are_read_images_arrive_as_such_and_one_program_serves_all():
    traced = []

    def classify(variables, x):
        traced.append(x.shape)
        return jnp.argmax(quadratic(variables, x), 1)

    variables, x, y = linear()
    settings = {"batch_size": 180}  # 11 records in a block
    images = x.reshape(N, 5, 2, 2)
    results = boundary_distance(classify, images, y, 0, variables=variables, **settings)
    np.testing.assert_allclose(results, boundary_distance(quadratic, x, y, 0, variables=variables), rtol=1e-2)
    before, (other, _, _) = len(traced), linear(7)
    labels = np.asarray(quadratic(other, x)).argmax(1)
    boundary_distance(classify, images, labels, 5, variables=other, gamma=2.0, bounds=(-1.0, 2.0), **settings)
    assert len(traced) == before and max(shape[0] for shape in traced) <= 180
    assert {shape[1:] for shape in traced} == {(5, 2, 2)}


def test_where_noise_has_one_label_other_inputs_begin():
    # Class 1 is a small ball around a corner of the bounds: no noise lies there.
    variables = ball(0.5, 1, 0)
    x = np.full((N, D), 0.6, np.float32)
    x[1] = x[3] = 0.05
    y = np.zeros(N, int)
    y[[1, 2, 3]] = 1  # 2 is misclassified
    with pytest.warns(UserWarning, match="27 of 30 records, the first 0, .* pass starts="):
        results = boundary_distance(quadratic, x, y, 0, variables=variables)
    far = np.arange(N) != 2
    far[[1, 3]] = False
    np.testing.assert_allclose(results[far], 0.6 * np.sqrt(D), rtol=1e-5)
    inside = 0.5 - 0.05 * np.sqrt(D)
    assert results[2] == 0 and (results[[1, 3]] >= inside * (1 - 1e-4)).all()
    assert (results[[1, 3]] <= 1.05 * inside).all()
    begun = boundary_distance(quadratic, x, y, 0, starts=x, variables=variables)
    true = 0.6 * np.sqrt(D) - 0.5
    assert (begun[far] >= true * (1 - 1e-4)).all() and (begun[far] <= 1.05 * true).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bounds": (0.0, 0.5)}, r"outside bounds=\(0.0, 0.5\)"),
        ({"bounds": (1.0, 0.0)}, "the first one smaller"),
        ({"bounds": (0.0, np.inf)}, "bounds"),
        ({"starts": np.zeros((2, 3), np.float32)}, "starts has shape"),
        ({"starts": np.full((2, 20), 2.0, np.float32)}, "starts runs from 2.0"),
        ({"iterations": 0}, "iterations=0"),
        ({"tries": 0}, "tries=0"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"batch_size": 8}, "batch_size=8"),
    ],
)
def test_bad_settings_are_named(settings, words):
    variables, x, y = linear()
    with pytest.raises(ValueError, match=words):
        boundary_distance(quadratic, x, y, 0, variables=variables, **settings)


def test_what_jax_cannot_trace_is_told_where_to_go():
    _, x, y = linear()
    for classify in (
        lambda x: np.stack([np.asarray(x).sum(1), 0 * np.asarray(x)[:, 0]], 1),
        lambda x: x if x.sum() > 0 else -x,
    ):
        with pytest.raises(TypeError, match="on_host"):
            boundary_distance(classify, x, y, 0)
