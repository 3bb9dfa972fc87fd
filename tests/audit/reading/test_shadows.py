"""Shadows by a recipe: kept on disk, made in one program, and doubted where the recipe ignores its rows."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gecko_jax import audit, models, training
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.recipe_checks import Shadows, check_recipe
from gecko_jax.types import Examples

N = 120
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype(np.float32)
Y = RNG.integers(0, 3, N).astype(np.int32)  # labels without a rule: all that is learned is learned by heart
POOL = Examples(X, Y, np.arange(N))
MODEL = models.create("mlp", 3, hidden=(16,))
OPTIONS = dict(epochs=40, batch_size=32, optimizer=training.optimizer("adam", 0.02))
RECIPE = training.Recipe(MODEL, POOL, **OPTIONS)


def rows(chosen):
    return Examples(X[chosen], Y[chosen], np.arange(N)[chosen])


@pytest.fixture(name="target", scope="module")
def make_target():
    half = np.random.default_rng(1).permutation(N)
    return RECIPE(half[:60], jax.random.key(9)), rows(half[:60]), rows(half[60:])


def predict(variables, x):
    return training.predict(MODEL, variables, x, batch_size=N)


def audited(target, recipe, **options):
    variables, members, nonmembers = target
    settings = dict(pool=POOL, shadows=4, key=3, variables=variables)
    return audit.audit(predict, members, nonmembers, recipe, **{**settings, **options})


def test_a_recipe_trains_on_its_rows_alone():
    """As `fit` does with these members, whatever the other rows hold."""
    key, chosen = jax.random.key(4), np.arange(50)
    alone = RECIPE(chosen, key)
    seed = int(jax.random.bits(key, (), "uint32"))
    wanted = training.fit(MODEL, POOL, np.arange(N) < 50, seed=seed, **OPTIONS).variables
    jax.tree.map(np.testing.assert_array_equal, alone, wanted)
    other = POOL._replace(x=np.where((np.arange(N) < 50)[:, None], X, 100 * X).astype(np.float32))
    changed = training.Recipe(MODEL, other, **OPTIONS)(chosen, key)
    jax.tree.map(np.testing.assert_array_equal, alone, changed)


def test_an_ensemble_is_as_many_models():
    """Each of its models is trained on its own members, from values of its own."""
    member = np.random.default_rng(2).random((3, N)) < 0.5
    trainings = RECIPE.ensemble(member, jax.random.key(5))
    logits = training.predict_ensemble(MODEL, trainings, X, batch_size=N)
    right = logits.argmax(-1) == Y
    for i in range(3):
        assert right[i, member[i]].mean() > right[i, ~member[i]].mean() + 0.3
    assert not np.array_equal(logits[0], logits[1])


def test_the_leak_of_models_that_learn_by_heart_is_found(target):
    report = audited(target, RECIPE)
    assert report.rows["rmia"]["auc"].low > 0.7
    assert all("cannot be resolved with 60 non-members" in warning for warning in report.warnings)
    assert {"lira", "lira_student", "base", "loss"} <= set(report.rows)
    assert set(report.baselines) == {"records", "reference loss"}


def test_shadows_are_kept_and_read_again(target, tmp_path):
    trainings = []

    def recipe(chosen, key):
        trainings.append(chosen)
        return RECIPE(chosen, key)

    first = audited(target, recipe, folder=tmp_path)
    stored = sorted(tmp_path.iterdir())
    assert len(trainings) == len(stored) == 4
    stored[0].unlink()  # as if the run had been killed before its last shadow
    again = audited(target, recipe, folder=tmp_path)
    assert len(trainings) == 5 and again.to_json() == first.to_json()
    audited(target, recipe, folder=tmp_path, key=4)  # other members, other draws: nothing fits
    assert len(trainings) == 9 and len(list(tmp_path.iterdir())) == 8
    turned = dict(queries=lambda x: [x, -x]), dict(queries=lambda x: [x, x + 1])
    asked = [audited(target, recipe, folder=tmp_path, **queries).rows["loss"]["auc"].value for queries in turned]
    fresh = [audited(target, recipe, **queries).rows["loss"]["auc"].value for queries in turned]
    assert asked == fresh and len(list(tmp_path.iterdir())) == 16  # as many copies, but not the same
    stored[1].write_bytes(stored[1].read_bytes()[:100])
    with pytest.raises(ValueError, match="is not a complete file of a shadow model"):
        audited(target, recipe, folder=tmp_path)


def test_an_ensembles_shadows_are_kept_as_a_run(target, tmp_path):
    first = audited(target, RECIPE, folder=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("fit-") and any(folder.iterdir())
    assert audited(target, RECIPE, folder=tmp_path).to_json() == first.to_json()


def test_a_recipe_that_ignores_its_rows_is_doubted(target):
    fixed = RECIPE(np.arange(30), jax.random.key(0))
    with pytest.raises(ValueError, match="ignores its rows and its key"):
        audited(target, lambda chosen, key: fixed)

    def blind(chosen, key):
        """Trained on rows that it draws for itself."""
        drawn_rows = jax.random.bernoulli(key, 0.5, (N,))
        return RECIPE(np.flatnonzero(drawn_rows), key)

    warning = audited(target, blind).warnings[0]
    assert "No shadow's loss tells its own members" in warning and "ignores its rows" in warning


def test_the_doubt_stays_however_many_shadows_there_are():
    """64 that ignore their rows: by luck alone some tell their members at 95 % each; asked together, they do not."""
    silent = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        member, y = rng.random((64, 200)) < 0.5, rng.integers(0, 3, 200)
        results = Shadows(Readings(rng.normal(size=(64, 200, 3))), member, y, 200, np.arange(200))
        silent += not check_recipe(results)
    assert silent <= 4  # expected: at most 1 in 20


def test_what_does_not_go_together_is_refused(target):
    with pytest.raises(ValueError, match="come with each call of a recipe"):
        training.Recipe(MODEL, POOL, seed=1)
    with pytest.raises(ValueError, match="recipe makes variables: pass the target's as variables="):
        audit.audit(lambda x: x[:, :3], *target[1:], RECIPE, pool=POOL, shadows=2, key=0)
