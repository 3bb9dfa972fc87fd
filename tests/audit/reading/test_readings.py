"""What an audit reads beside logits: moved copies, gradients, a population; and the best of several attacks."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, models, probes, training
from gecko_jax.attacks import Attack
from gecko_jax.audit.reading import model_reader, readings
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

N, CLASSES = 160, 3
RNG = np.random.default_rng(0)
X = RNG.random((N + 60, 6, 6, 1)).astype(np.float32)
Y = RNG.integers(0, CLASSES, N + 60).astype(np.int32)
MODEL = models.create("mlp", CLASSES, hidden=(16,))
POOL = Examples(X[:N], Y[:N], np.arange(N))
UNSEEN = Examples(X[N:], Y[N:], np.arange(N, N + 60))
RECIPE = training.Recipe(MODEL, POOL, epochs=40, batch_size=32, optimizer=training.optimizer("adam", 0.02))


def rows(chosen):
    return Examples(X[chosen], Y[chosen], np.arange(N)[chosen])


@pytest.fixture(name="target", scope="module")
def make_target():
    order = np.random.default_rng(1).permutation(N)
    return RECIPE(order[:80], jax.random.key(9)), rows(order[:80]), rows(order[80:])


@pytest.fixture(name="shadows", scope="module")
def keep_shadows(tmp_path_factory):
    return dict(recipe=RECIPE, pool=POOL, shadows=4, key=3, folder=tmp_path_factory.mktemp("shadows"))


def turned(x):
    return [x, x[:, :, ::-1], x[:, ::-1]]


def spy(told, signal, shadows=1):
    """An attack that tells what it was given."""

    def score(signals):
        told.append(signals)
        return signals.target if signals.target.ndim == 1 else signals.target.reshape(len(signals.target), -1)[:, 0]

    return Attack(f"spy_{signal}", SIGNALS[signal], score, shadows)


def test_queries_are_read_on_the_target_and_on_every_shadow(target, shadows):
    variables, members, nonmembers = target
    told = []
    report = audit.audit(
        MODEL, members, nonmembers, variables=variables, queries=turned, attacks=[spy(told, "phi")], **shadows
    )
    last = told[-3:]  # the target is attacked after the fake ones
    x, y = np.concatenate([members.x, nonmembers.x]), np.concatenate([members.y, nonmembers.y])
    for signals, copy in zip(last, turned(x), strict=True):
        assert signals.values.shape == (4, N)
        np.testing.assert_allclose(signals.target, SIGNALS["phi"](training.predict(MODEL, variables, copy), y))
    scores = np.mean([signals.target for signals in last], axis=0)
    assert report.rows["spy_phi"]["auc"].value == metrics.roc_auc(scores, np.arange(N) < 80)


def test_a_models_gradients_are_read_off_it_and_off_its_shadows(target, shadows):
    variables, members, nonmembers = target
    told = []
    chosen = [attacks.small_gradient(), spy(told, "layer_gradients"), spy(told, "white_box")]
    report = audit.audit(MODEL, members, nonmembers, variables=variables, attacks=chosen, **shadows)
    x, y = np.concatenate([members.x, nonmembers.x]), np.concatenate([members.y, nonmembers.y])
    norms = probes.gradient_norms(MODEL, variables, x, y)
    auc = metrics.roc_auc(-norms["all"], np.arange(N) < 80)
    assert report.rows["small_gradient"]["auc"].value == pytest.approx(auc) and auc > 0.6
    leaves = [name for name in sorted(norms) if name != "all"]
    wanted = -np.log(np.stack([norms[name] for name in leaves], -1))
    layers, white = (next(s for s in told[::-1] if s.target.ndim == axes and len(s.target) == N) for axes in (2, 3))
    np.testing.assert_allclose(layers.target, wanted, rtol=1e-5, atol=1e-5)
    assert layers.values.shape == (4, N, len(leaves))
    logits = training.predict(MODEL, variables, x)
    posteriors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(white.target[:, 0, :CLASSES], posteriors, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(white.target[:, 1, :CLASSES], np.eye(CLASSES)[y])
    np.testing.assert_allclose(white.target[:, 2, 0], SIGNALS["loss"](logits, y))
    np.testing.assert_allclose(white.target[:, 3, : len(leaves)], -wanted, rtol=1e-5, atol=1e-5)
    assert (white.target[:, 0, CLASSES:] == 0).all() and (white.target[:, 2, 1:] == 0).all()


def test_what_is_usual_grows_with_what_there_is(target, shadows):
    variables, members, nonmembers = target
    ask = functools.partial(training.predict, MODEL)
    black = audit.audit(ask, members, nonmembers, variables=variables)
    white = audit.audit(MODEL, members, nonmembers, variables=variables)
    assert set(white.rows) - set(black.rows) == {"small_gradient"} and "label_only" in black.rows
    full = audit.audit(MODEL, members, nonmembers, variables=variables, population=UNSEEN, **shadows)
    # Every listed attack whose needs are met, but for the slow ones and those of language models.
    quick = {name for name, make in attacks.ATTACKS.items() if not make().slow}
    quick -= {"lowercase_ratio", "min_k", "neighborhood", "reference_ratio", "zlib_ratio"}
    assert set(full.rows) == quick | {"quantile_regression"}  # which a population makes quick
    assert set(full.rows) | set(full.not_run) == set(attacks.ATTACKS)


def test_a_population_is_each_targets_own(target, shadows):
    """Each stand-in is attacked with its own signals of the population, and the target with its."""
    variables, members, nonmembers = target
    told = []
    chosen = [spy(told, "soft_loss"), attacks.rmia(ties="counted"), attacks.rmia(signal=SIGNALS["loss"])]
    report = audit.audit(MODEL, members, nonmembers, variables=variables, population=UNSEEN, attacks=chosen, **shadows)
    values, target_values = told[-1].population
    expected = SIGNALS["soft_loss"](training.predict(MODEL, variables, UNSEEN.x), UNSEEN.y)
    np.testing.assert_allclose(target_values, expected, rtol=1e-6)
    assert values.shape == (4, 60)
    stand_ins = [one.population for one in told if len(one.values) == 3]
    assert len(stand_ins) == 4
    for k, (others, one) in enumerate(stand_ins):
        np.testing.assert_array_equal(one, values[k])
        np.testing.assert_array_equal(others, values[np.arange(4) != k])
    assert 0 <= report.rows["rmia"]["auc"].value <= 1 and report.tried["rmia"] == ("shadows", "population")


def test_a_population_gives_rmia_a_scale_and_changes_no_rank(target, shadows):
    variables, members, nonmembers = target
    alone, beside = (
        audit.audit(MODEL, members, nonmembers, variables=variables, population=z, attacks=[attacks.rmia()], **shadows)
        for z in (None, UNSEEN)
    )
    for metric in ("auc", "tpr_at_1pct", "ppv_at_1pct_prior"):
        assert alone.rows["rmia"][metric] == beside.rows["rmia"][metric]


def test_each_query_has_its_own_population(target, shadows):
    variables, members, nonmembers = target
    told = []
    chosen = [spy(told, "loss")]
    more = dict(variables=variables, population=UNSEEN, queries=turned, attacks=chosen, **shadows)
    audit.audit(MODEL, members, nonmembers, **more)
    for signals, copy in zip(told[-3:], turned(UNSEEN.x), strict=True):
        wanted = SIGNALS["loss"](training.predict(MODEL, variables, copy), UNSEEN.y)
        np.testing.assert_allclose(signals.population[1], wanted, rtol=1e-6)


def test_the_best_of_several_is_chosen_on_the_shadows(target, shadows):
    """Members and non-members of the target change places: the choice and the threshold stay."""
    variables, members, nonmembers = target
    wrong = Attack("wrong", SIGNALS["loss"], lambda signals: signals.target, 0)
    both = audit.best_of([wrong, attacks.loss()])
    one = audit.audit(MODEL, members, nonmembers, variables=variables, attacks=[both, attacks.loss()], **shadows)
    two = audit.audit(MODEL, nonmembers, members, variables=variables, attacks=[both, attacks.loss()], **shadows)
    assert one.rows["best_of"] == one.rows["loss"] and one.rows["loss"]["auc"].value > 0.6
    assert two.rows["best_of"] == two.rows["loss"] and two.rows["loss"]["auc"].value < 0.4
    assert one.notes == two.notes == ("Chosen on the shadows by auc: best_of is loss.",)
    assert one.notes[0] in one.table() and "best_of is loss." in one.to_json()


def test_the_best_of_several_among_models():
    rng = np.random.default_rng(2)
    member, y = rng.random((5, 200)) < 0.5, rng.integers(0, 3, 200)
    logits = rng.normal(size=(5, 200, 3)) + (2.0 * member)[..., None] * np.eye(3)[y]
    wrong = Attack("wrong", SIGNALS["loss"], lambda signals: signals.target, 0)
    report = audit.audit_models(
        logits, y, member, [audit.best_of([wrong, attacks.loss()], "tpr_at_1pct"), attacks.loss()]
    )
    assert report.rows["best_of"] == report.rows["loss"]
    assert report.notes == ("Chosen on the shadows by tpr_at_1pct: best_of is loss for 5 of 5 targets.",)


def test_saved_queries_and_probes_are_audited_alike():
    """From arrays alone, over models: a query more is one Signals more, a probed signal goes where it is read."""
    rng = np.random.default_rng(3)
    member, y = rng.random((5, 120)) < 0.5, rng.integers(0, 3, 120)
    logits, copy = (rng.normal(size=(5, 120, 3)) + (1.5 * member)[..., None] * np.eye(3)[y] for _ in range(2))
    robust = rng.normal(size=(5, 120)) + member
    chosen = [attacks.loss(), attacks.label_only()]
    report = audit.audit_models(logits, y, member, chosen, queries=[copy], probed={"label_robustness": robust})
    for i in range(5):
        loss = np.mean([SIGNALS["loss"](one[i], y) for one in (logits, copy)], axis=0)
        assert report.targets[i]["loss"]["auc"].value == pytest.approx(metrics.roc_auc(-loss, member[i]))
        assert report.targets[i]["label_only"]["auc"].value == pytest.approx(metrics.roc_auc(robust[i], member[i]))
    results = readings.class_readings(logits, [copy], {"label_robustness": robust})
    few = results.rows(np.array([3, 5])).models(np.array([1]))
    np.testing.assert_array_equal(few.queries[0], copy[[1]][:, [3, 5]])
    np.testing.assert_array_equal(few.values["label_robustness"], robust[[1]][:, [3, 5]])


def test_a_blind_baseline_of_models():
    """Their records tell members apart: a warning, first in the report."""
    rng = np.random.default_rng(4)
    member, y = rng.random((4, 300)) < 0.5, rng.integers(0, 3, 300)
    x = np.stack([member[0] + 0.1 * rng.normal(size=300), rng.normal(size=300)], 1)
    report = audit.audit_models(rng.normal(size=(4, 300, 3)), y, member, [attacks.loss()], x=x)
    assert report.baselines["records"].value > 0.95 and "without the model" in report.warnings[0]
    assert set(audit.audit_models(rng.normal(size=(4, 300, 3)), y, member, [attacks.loss()]).baselines) == {
        "reference loss"
    }


def test_shadows_of_ones_own_recipe_are_kept_with_all_that_was_read(target, tmp_path):
    variables, members, nonmembers = target
    trainings = []

    def recipe(rows, key):
        trainings.append(len(rows))
        return RECIPE(rows, key)

    def run(**options):
        settings = dict(recipe=recipe, pool=POOL, shadows=2, key=1, folder=tmp_path, variables=variables)
        return audit.audit(MODEL, members, nonmembers, **settings, **options).to_json()

    first = run(attacks=[attacks.small_gradient()], queries=turned)
    assert len(trainings) == 2
    assert run(attacks=[attacks.small_gradient()], queries=turned) == first and len(trainings) == 2
    run(attacks=[attacks.loss()])  # no queries: other readings
    assert len(trainings) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(attacks=[attacks.small_gradient()], plain=True), "reads 'small_gradient'.*comes from audit\\(model"),
        (dict(attacks=[attacks.rmia(ties="counted")]), "needs population=, records that no model was trained on"),
        (dict(attacks=[attacks.rmia]), "expected an Attack, .*Call it: rmia()"),
        (dict(attacks=["lyra"]), "attack='lyra' is not known. Did you mean 'lira'"),
        (dict(population=rows(np.arange(5))), "5 records of the population are among the audited records"),
        (dict(attacks=[audit.best_of([attacks.loss(), attacks.entropy()])]), "needs 2 shadow models and would have 0"),
        (dict(queries=lambda x: [x, x[:, 1:]]), "queries has shape"),
        (dict(variables=None), "needs the target's variables="),
    ],
)
def test_bad_input_is_refused(target, options, said):
    variables, members, nonmembers = target
    options = {"variables": variables, **options}
    predict = functools.partial(training.predict, MODEL) if options.pop("plain", False) else MODEL
    with pytest.raises(ValueError, match=said):
        audit.audit(predict, members, nonmembers, **options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(queries=[np.zeros((4, 2))]), r"queries\[0\] has shape"),
        (dict(probed={"robust": np.zeros(6)}), "Did you mean|is not known"),
        (dict(probed={"label_robustness": np.full(6, np.nan)}), "6 NaN of 6"),
        (dict(probed={"layer_gradients": np.zeros(6)}), "has shape"),
    ],
)
def test_bad_readings_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        audit.audit_model(np.zeros((6, 2)), np.zeros(6, int), np.arange(6) < 3, **arguments)


def test_one_attack_is_not_several():
    with pytest.raises(ValueError, match="number of attacks"):
        audit.best_of([attacks.loss()])
    with pytest.raises(ValueError, match="metric"):
        audit.best_of([attacks.loss(), attacks.gap()], "accuracy")


def test_probes_do_the_same_to_every_model_and_record():
    """Their scale comes from the audited records, not from those that happen to be asked about."""
    flat = X.reshape(len(X), -1)
    told = []

    def predict(x):
        told.append(x)
        return np.stack([x.sum(1), 1 - x.sum(1)], 1)

    reader = model_reader.ModelReader(predict, False, reference_inputs=flat[:100])
    labels = np.zeros(20, np.int64)
    moved = []
    for x in (flat[:20], 5 * flat[:20]):
        told.clear()
        reader.read(predict, x, labels, [SIGNALS["label_robustness"]])
        moved.append(told[-1] - x)
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-5)
    assert np.abs(moved[0]).max() > 0


def test_slices_exposed_records_and_histograms_are_of_the_judging_attack(target):
    """Beside the classes, those asked for; the most exposed is the member with the highest score."""
    variables, members, nonmembers = target
    dark = lambda part: {"dark": part.x.mean((1, 2, 3)) < 0.5, "lone": np.arange(len(part.y)) == 0}  # noqa: E731
    report = audit.audit(MODEL, members, nonmembers, variables=variables, slices=dark)
    x, y, ids = (np.concatenate([a, b]) for a, b in zip(members, nonmembers, strict=True))
    loss, member = SIGNALS["loss"](training.predict(MODEL, variables, x), y), np.arange(N) < 80
    assert report.sliced_by == "loss" and set(report.slices) == {"dark", *(f"class {c}" for c in range(CLASSES))}
    for name, mask in {"dark": dark(Examples(x, y, ids))["dark"], "class 1": y == 1}.items():
        wanted = metrics.roc_auc(-loss[mask], member[mask])
        assert report.slices[name]["auc"].value == pytest.approx(wanted)
    assert any("lone (1 members, 0 non-members)" in warning for warning in report.warnings)
    first = np.flatnonzero(member)[loss[member].argmin()]
    assert report.most_exposed.id[0] == ids[first] and report.most_exposed.score[0] == pytest.approx(-loss[first])
    np.testing.assert_array_equal(report.most_exposed.x[0], x[first])
    assert report.score_histograms["loss"].members.sum() == 80
