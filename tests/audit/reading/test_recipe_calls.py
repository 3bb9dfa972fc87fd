"""How a recipe is called, what is refused before it trains, and shadows that another recipe left in a folder."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from gecko_jax import attacks, audit
from gecko_jax.audit import audit_targets
from gecko_jax.audit.reading import recipes
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype(np.float32)
Y = RNG.integers(0, 3, N)
POOL = Examples(X, Y, np.arange(N))
KNOWN, UNKNOWN = (Examples(X[rows], Y[rows], np.arange(N)[rows]) for rows in (slice(0, 30), slice(30, N)))
SCALE = 1.0


@pytest.fixture(autouse=True)
def no_classifier_of_the_records(monkeypatch):
    """It is not what is tested here, and takes most of an audit's time."""
    monkeypatch.setattr(audit_targets, "_blind", lambda *_: Baselines({}, []))


def remembering(x, y, gain=2.0):
    """A predict function that knows its records' labels."""
    known = {row.tobytes(): label for row, label in zip(x, y, strict=True)}

    def predict(x):
        sure = np.array([gain * (row.tobytes() in known) for row in x])
        return x[:, :3] + sure[:, None] * np.eye(3)[[known.get(row.tobytes(), 0) for row in x]]

    return predict


def audited(recipe, shadows=2, **options):
    settings = {"attacks": [attacks.loss()], "pool": POOL, "key": 0, **options}
    return audit.audit(remembering(KNOWN.x, KNOWN.y), KNOWN, UNKNOWN, recipe, shadows=shadows, **settings)


def test_every_signature_gets_the_same_rows():
    told = {}

    def by_rows(rows, key):
        assert rows.dtype == np.int32 and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
        told.setdefault("rows", []).append(rows)
        return remembering(X[rows], Y[rows])

    def by_records(x, y, key):
        told.setdefault("records", []).append((x, y))
        return remembering(x, y)

    def by_seed(rows, seed):
        told.setdefault("seed", []).append(seed)
        return remembering(X[rows], Y[rows])

    def by_state(x, y, random_state=None):
        told.setdefault("state", []).append(random_state)
        return remembering(x, y)

    class Trainer:
        def __call__(self, rows, key):
            return by_rows(rows, key)

    every = [by_rows, by_records, by_seed, Trainer(), Trainer().__call__, lambda *given: by_rows(*given)]
    first, *others = (audited(recipe).to_json() for recipe in every)
    assert all(other == first for other in others)
    for (x, y), rows in zip(told["records"], told["rows"], strict=False):
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(y, Y[rows])
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in told["seed"]) and len(set(told["seed"])) == 2
    np.random.default_rng(told["seed"][0])
    audited(lambda rows, seed=0: by_seed(rows, seed))
    assert told["seed"][2:] == told["seed"][:2]
    by_state(X, Y)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [(lambda rows: rows, r"arguments \(rows\)"), (lambda a, b, c, d: a, r"\(a, b, c, d\)"), (3, "recipe is a int")],
)
def test_another_signature_is_refused_before_the_model_is_asked(recipe, words):
    asked = []
    with pytest.raises(ValueError, match=words):
        audit.audit(lambda x: asked.append(x), KNOWN, UNKNOWN, recipe, POOL, 2, 0)
    assert not asked


def test_shadows_that_run_nothing_are_refused_before_any_work():
    work = []
    with pytest.raises(ValueError, match="shadows=1 runs no attack that reads shadow models.*shadows=8"):
        audit.audit(lambda x: work.append(x), KNOWN, UNKNOWN, lambda rows, key: work.append(rows), POOL, 1, 0)
    assert not work
    assert "1 shadow models" in audited(lambda rows, key: remembering(X[rows], Y[rows]), shadows=1).threshold


def test_a_shadow_without_a_rare_class_is_told_after_the_first():
    """One record of class 2: about half of the shadows lack it, and the first to be trained is one of those."""
    y = np.where(np.arange(N) == 7, 2, Y % 2)
    pool, trained = POOL._replace(y=y), []

    def recipe(rows, key):
        trained.append(rows)
        seen = np.unique(y[rows])
        return lambda x: x[:, : len(seen)]

    parts = [part._replace(y=y[part.id]) for part in (KNOWN, UNKNOWN)]
    with pytest.raises(ValueError, match=r"2 columns and the target's 3: its \d+ rows of the pool have 2 of 3 classes"):
        audit.audit(lambda x: x[:, :3], *parts, recipe, pool, 12, 0)
    assert len(trained) == 1

    def whole(rows, key):
        trained.append(rows)
        return lambda x: x[:, :3] * len(rows)

    audit.audit(lambda x: x[:, :3], *parts, whole, pool, 3, 0, attacks=[attacks.loss()])
    assert len(trained) == 4


def made_by(gain, log):
    """A recipe that holds a value, and keeps a log."""

    def recipe(rows, key):
        log.append(len(rows))
        return remembering(X[rows], Y[rows], gain * SCALE)

    return recipe


def test_a_folder_keeps_recipes_apart_and_says_so(tmp_path, monkeypatch):
    log = []
    first = audited(made_by(2.0, log), folder=tmp_path)
    assert len(log) == 2 and audited(made_by(2.0, log), folder=tmp_path).to_json() == first.to_json()
    assert len(log) == 2 and not any("folder" in warning for warning in first.warnings)
    changed = audited(made_by(9.0, log), folder=tmp_path)
    assert len(log) == 4 and any("The folder keeps 2 shadows" in warning for warning in changed.warnings)
    monkeypatch.setattr("test_recipe_calls.SCALE" if __name__ == "test_recipe_calls" else f"{__name__}.SCALE", 0.5)
    audited(made_by(2.0, log), folder=tmp_path)
    assert len(log) == 6

    def other(rows, key):
        log.append(len(rows))
        return remembering(X[rows], -Y[rows] % 3, 2.0 * SCALE)

    audited(other, folder=tmp_path)
    assert len(log) == 8


def test_a_predict_of_variables_that_changed_is_another():
    contents = {"w": np.ones(3)}
    one = recipes.fingerprint(lambda variables, x: x * contents["w"])
    assert one == recipes.fingerprint(lambda variables, x: x * contents["w"])
    contents["w"] = np.ones(3) + 1e-9
    assert one != recipes.fingerprint(lambda variables, x: x * contents["w"])
    assert one != recipes.fingerprint(lambda variables, x: x + contents["w"])


def test_a_fingerprint_follows_the_globals_of_versions_and_partials(monkeypatch):
    """The recipe is of another module than what it is read by: a function, a dict of versions, a partial."""

    def recipe(rows, key):
        return rows

    monkeypatch.setattr(recipe, "__module__", "elsewhere")
    for predict in (rounded, {"float": abs, "int8": rounded}, functools.partial(rounded, bits=2)):
        names = []
        for scale in (4.0, 4.0, 2.0):
            monkeypatch.setitem(globals(), "SCALE", scale)
            names.append(recipes.fingerprint(recipe, predict))
        assert names[0] == names[1] != names[2]


def rounded(x, bits=1):
    return np.round(x / SCALE, bits)


def test_a_fingerprint_is_of_what_is_done():
    def documented(x):
        """Says what it does."""
        return x + 1

    def plain(x):

        return x + 1

    assert recipes.fingerprint(documented) == recipes.fingerprint(plain)

    def loop(value):
        loop.again = loop
        return lambda x: (loop, value, {"a", "b"}, x)

    assert recipes.fingerprint(loop(1)) == recipes.fingerprint(loop(1)) != recipes.fingerprint(loop(2))
    assert recipes.fingerprint(jax.jit(plain)) != recipes.fingerprint(jax.jit(lambda x: x + 2))


def test_equal_pools_are_equal_in_any_memory():
    """A recipe's own pool against the same records loaded again: in float64, with NaN, text of another width."""
    from gecko_jax.audit.reading.shadows import _hold_the_same

    x = np.where(X > 1, np.nan, X)
    words = np.array(["a", "bb", "ccc"])[Y]
    for one, other in (
        (POOL._replace(x=x), POOL._replace(x=x.astype(np.float64), y=Y.astype(np.int16))),
        (POOL._replace(x=x.astype(object)), POOL._replace(x=x.astype(object).copy())),
        (POOL._replace(x=words.astype("U3")), POOL._replace(x=words.astype("U7"))),
    ):
        assert _hold_the_same(one, other)
        assert not _hold_the_same(one, other._replace(y=other.y[::-1]))
        assert not _hold_the_same(one, other._replace(x=other.x[::-1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": POOL._replace(y=np.where(np.arange(N) == 3, 7, Y)), "parts": slice(10, 50)}, "y runs from 0 to 7"),
        ({"slices": lambda part: {"odd": part.y}}, r"slices\['odd'\] has shape \(60,\) and dtype int64"),
        ({"slices": lambda part: {"odd": [True]}}, r"slices\['odd'\] has shape \(1,\)"),
        ({"parts": slice(29, 60)}, "1 members and 30 non-members"),
        ({"attacks": [attacks.lira(signal=SIGNALS["small_gradient"])]}, "small_gradient"),
        ({"queries": lambda x: [x + 1]}, r"queries\(x\)\[0\] is not x"),
        ({"folder": __file__}, "File exists|Not a directory"),
    ],
)
def test_no_refusal_costs_a_shadow(options, words):
    rows = np.arange(N)[options.pop("parts", slice(None))]
    parts = [Examples(X[r], Y[r], r) for r in (rows[rows < 30], rows[rows >= 30])]
    trained = []
    with pytest.raises((ValueError, OSError), match=words):
        audit.audit(lambda x: x[:, :3], *parts, lambda rows, key: trained.append(rows), shadows=4, key=0,
                    **{"pool": POOL, "attacks": [attacks.loss()], **options})  # fmt: skip
    assert not trained
