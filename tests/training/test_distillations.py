"""Each distillation of the table: one student is itself in any company, and learns what its formula says."""

import jax
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, starts_of
from scipy.special import log_softmax, softmax

from gecko_jax import keys, losses, models, training
from gecko_jax.training.distillations.beside import beside
from gecko_jax.training.distillations.distillation import FIXED
from gecko_jax.training.distillations.mixacm import TEACHER as BESIDE
from gecko_jax.training.distillations.mixacm import _gradients, _Settings, mixacm, mixed
from gecko_jax.trees import shapes, take
from gecko_jax.types import Batch, Examples

TX = training.optimizer("momentum", 0.05)
LARGE, MIDDLE, SMALL = (models.create("mlp", 10, hidden=hidden) for hidden in ((6,), (4,), (4,)))
TEACHER = models.create("mlp", 10, hidden=(4,))
OPTIONS = {"assistants": dict(models=[MIDDLE]), "mixacm": dict(layers=["block1"])}


def distillation(name):
    return training.DISTILLATIONS[name](**OPTIONS.get(name, {}))


@pytest.fixture(scope="module")
def starts(pool):
    return jax.tree.map(lambda leaf: leaf[::-1], starts_of(SMALL, pool.x, 2))


@pytest.fixture(scope="module")
def teachers(pool):
    return training.Teacher(TEACHER, starts_of(TEACHER, pool.x, 2), per_model=True)


@pytest.mark.parametrize("name", training.DISTILLATIONS)
def test_a_student_with_its_own_teacher_is_the_same_alone(name, pool, member, teachers, starts, tmp_path):
    kind, settings = distillation(name), dict(epochs=2, batch_size=20, optimizer=TX, seed=1)
    assert kind.name == name
    watched = []
    both = kind.train(
        SMALL, pool, member[:2], teachers, init=starts, observe=lambda *seen: watched.append(seen), **settings
    )
    assert both.loss.shape == (2, 2) and np.isfinite(both.loss).all() and set(both.variables) == {"params"}
    assert [epoch for epoch, _ in watched] == [1, 2] and set(watched[-1][1]) == {"params"}
    shared = training.Teacher(TEACHER, take(teachers.variables, 1))
    settings |= dict(model_ids=[1], init=take(starts, slice(1, 2)), folder=tmp_path)
    for _ in range(2):  # the second is read from the folder
        alone = kind.train(SMALL, pool, member[1:2], shared, **settings)
        assert_close(take(alone.variables, 0), take(both.variables, 1), rtol=1e-4, atol=1e-5)


def test_a_student_with_a_collection_starts_as_one_without(pool, member, teachers):
    settings = dict(epochs=1, batch_size=60, optimizer=optax.set_to_zero(), seed=4)
    fitted = distillation("continuation").train(SMALL, pool, member[:1], teachers._replace(
        variables=take(teachers.variables, slice(0, 1))), **settings)  # fmt: skip
    assert_same_bits(fitted.variables, training.fit_ensemble(SMALL, pool, member[:1], **settings).variables)


@pytest.mark.parametrize("name", training.DISTILLATIONS)
def test_what_a_distillation_sets_by_itself_is_refused(name, pool, member, teachers):
    for option in FIXED:
        with pytest.raises(ValueError, match=f"{option} is set by '{name}' itself"):
            distillation(name).train(SMALL, pool, member[:2], teachers, **{option: True})


def test_teachers_of_another_number_than_students_are_refused(pool, member, teachers):
    with pytest.raises(ValueError, match=r"expected \(3, \.\.\.\), one teacher for each student"):
        distillation("mixacm").train(SMALL, pool, member[:3], teachers)


def test_continuation_is_its_two_equations_by_hand():
    """Gradient descent on all rows, for a linear student, in float64."""
    rng, n, epochs = np.random.default_rng(0), 8, 10
    x, y = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 4, n).astype(np.int32)
    linear = models.create("mlp", 4, hidden=())
    teacher = training.Teacher(linear, starts_of(linear, x, 1), per_model=True)
    start = starts_of(linear, x, 2)
    start = take(start, slice(1, 2))
    fitted = training.DISTILLATIONS["continuation"](temperature=5, margin=0.5, labels_at=0.6).train(
        linear, Examples(x, y), np.ones((1, n), bool), teacher,
        init=start, epochs=epochs, batch_size=n, optimizer=training.optimizer("sgd", 0.02),
    )  # fmt: skip
    w, b = (start["params"]["logits"][k][0].astype(np.float64) for k in ("kernel", "bias"))
    target, x = teacher.logits(x)[0].astype(np.float64), x.astype(np.float64)
    for epoch in range(epochs):
        temperature = 5 - int(epoch * 5 / epochs)  # T falls from 5 to 1
        phi, psi = 1 - (temperature - 1) / 5, min(1.0, epoch / epochs / 0.6)
        s = x @ w + b
        away = s - phi * target
        distance = (away**2).sum(1)
        hinge = np.maximum(0, distance - 0.5 * phi)
        loss = psi * -log_softmax(s, axis=1)[np.arange(n), y] + (1 - psi) * hinge
        np.testing.assert_allclose(fitted.loss[epoch, 0], loss.mean(), rtol=2e-4)
        slope = psi * (softmax(s, 1) - np.eye(4)[y]) + (1 - psi) * 2 * away * (distance > 0.5 * phi)[:, None]
        w, b = w - 0.02 * x.T @ slope / n, b - 0.02 * slope.mean(0)
    np.testing.assert_allclose(fitted.variables["params"]["logits"]["kernel"][0], w, rtol=1e-3, atol=1e-4)


def test_mixacm_is_its_three_terms_by_hand(pool, teachers):
    start, x, y = starts_of(SMALL, pool.x, 3), pool.x[:6], pool.y[:6]
    student, taught = (take(tree, i)["params"] for tree, i in ((start, 2), (teachers.variables, 0)))
    variables = {"params": student, BESIDE: {"params": taught}}
    settings = _Settings((("block1", "block1"),), 1.0, 2.0, (0.7, 0.5, 3.0))
    gradients = _gradients(beside(SMALL, BESIDE, shapes({"params": taught})), TEACHER, settings, None)
    weight, key = np.array([1, 1, 1, 1, 0, 0], np.float32), jax.random.key(3)
    batch = Batch(x, y, weight)
    together = jax.jit(lambda *given: (gradients(*given), mixed(given[1], weight > 0, 1.0, given[2])))
    (_, metrics), draws = together(variables, batch, key)
    r, partner, x_mixed = (np.asarray(each, np.float64) for each in draws)
    partner = partner.astype(int)
    assert 0 < r < 1 and sorted(partner[:4]) == [0, 1, 2, 3] and partner[4:].tolist() == [4, 5]
    np.testing.assert_allclose(x_mixed, r * x + (1 - r) * x[partner], atol=1e-6)

    def forward(params):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        hidden = np.maximum(0, x_mixed @ params["dense1"]["kernel"] + params["dense1"]["bias"])
        return hidden, hidden @ params["logits"]["kernel"] + params["logits"]["bias"]

    (h_s, s), (h_t, t) = (forward(params) for params in (student, taught))
    log_s, rows = log_softmax(s, axis=1), np.arange(6)
    hard = -r * log_s[rows, y] - (1 - r) * log_s[rows, y[partner]]
    p = softmax(t / 2, 1)
    soft = 4 * (p * (np.log(p) - log_softmax(s / 2, axis=1))).sum(1)
    unit_s, unit_t = (h / np.linalg.norm(h, axis=1, keepdims=True) for h in (h_s, h_t))
    each = 0.7 * hard + 0.5 * soft + 3.0 * ((unit_s - unit_t) ** 2).sum(1)
    np.testing.assert_allclose(metrics.loss, each[:4].mean(), rtol=1e-5)


def test_assistants_teach_one_another(pool, member, teachers, starts):
    """One assistant, its logits for the student: two calls of `distill`, with the seed of the stage."""
    settings = dict(epochs=2, batch_size=20, optimizer=TX)
    chained = training.DISTILLATIONS["assistants"]([MIDDLE], temperature=2.0).train(
        SMALL, pool, member[:2], teachers, seed=5, init=starts, **settings
    )
    loss = losses.kullback_leibler(2.0, 0.9)
    settings |= dict(loss=loss, teacher_per_model=True)
    first = keys.derived_seed(5, stage="assistant_1")
    assistant = training.distill(MIDDLE, pool, member[:2], teachers.logits(pool.x), seed=first, **settings)
    taught = training.predict_ensemble(MIDDLE, assistant.variables, pool.x)
    assert_same_bits(chained, training.distill(SMALL, pool, member[:2], taught, seed=5, init=starts, **settings))


def test_sizes_that_rise_are_refused(pool, member, teachers):
    with pytest.raises(ValueError, match=r"models\[0\] has 460 parameters, more than the 310 of the teacher"):
        training.DISTILLATIONS["assistants"]([LARGE]).train(SMALL, pool, member[:2], teachers)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("assistants", dict(models=[]), "models is empty"),
        ("continuation", dict(temperature=0), "temperature=0"),
        ("continuation", dict(margin=-1.0), "margin=-1.0 must be at least 0"),
        ("continuation", dict(labels_at=0.0), "labels_at=0.0 must be above 0"),
        ("mixacm", dict(layers="block1"), "layers='block1' must name at least one module"),
        ("mixacm", dict(layers=["block1"], mixing=0.0), "mixing=0.0"),
        ("mixacm", dict(layers=["block1"], label_weight=0.0, teacher_weight=0.0, map_weight=0.0), "are all 0"),
    ],
)
def test_settings_out_of_bounds(name, options, message):
    with pytest.raises(ValueError, match=message):
        training.DISTILLATIONS[name](**options)


def test_layers_that_cannot_be_compared_are_refused(pool, member, teachers):
    for layers, message in (({"block1": "logits"}, "has 4 channels, 'logits' of the teacher 10"),
                            (["block9"], "layer='block9' is not known")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            mixacm(layers).train(SMALL, pool, member[:2], teachers)


@pytest.mark.parametrize(("name", "collection"), [("continuation", "continuation"), ("mixacm", BESIDE)])
def test_a_collection_that_a_distillation_sets_is_refused(name, collection, pool, member, teachers, starts):
    options = {"schedules": {collection: lambda share: 1.0}, "init": {**starts, collection: {"share": np.ones(2)}}}
    for option, value in options.items():
        with pytest.raises(ValueError, match=f"{option} holds '{collection}', which '{name}' sets itself"):
            distillation(name).train(SMALL, pool, member[:2], teachers, **{option: value})


def test_extras_of_a_caller_s_are_refused(pool, member, teachers):
    for option in ("extra", "extra_per_model"):
        with pytest.raises(ValueError, match=f"{option} is set by distill itself"):
            training.distill(SMALL, pool, member[:1], np.zeros((len(pool.y), 10)), **{option: {}})


@pytest.mark.parametrize("name", sorted(training.DISTILLATIONS))
def test_a_teacher_that_is_not_a_teacher_is_refused(name, pool, member):
    with pytest.raises(ValueError, match="teacher is of type ndarray; expected training.Teacher"):
        distillation(name).train(SMALL, pool, member[:2], np.zeros((len(pool.y), 10)))


def test_one_assistant_outside_a_list_is_refused():
    with pytest.raises(ValueError, match=r"assistants\(\[model\]\)"):
        training.DISTILLATIONS["assistants"](MIDDLE)


def test_variables_of_several_models_are_named(pool, starts):
    with pytest.raises(ValueError, match=r"take one: trees\.take\(variables, 0\)"):
        SMALL.apply(starts, pool.x[:1])
