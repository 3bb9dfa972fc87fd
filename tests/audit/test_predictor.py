"""`audit.audit` on models that remember exactly what they were trained on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import attacks, audit, models, training
from gecko_jax.attacks import Attack
from gecko_jax.audit.validity import records
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

N = 600
LEAK = 2.0


def examples(rows):
    """Record i has the number i as a feature, so that a model can know it again."""
    rows = np.asarray(rows)
    rng = np.random.default_rng(0)
    noise, y = rng.normal(size=(N, 3)).astype(np.float32), rng.integers(0, 3, N).astype(np.int32)
    x = np.concatenate([noise, np.arange(N, dtype=np.float32)[:, None], y[:, None].astype(np.float32)], 1)
    return Examples(x[rows], y[rows], (1000 + rows).astype(np.int64))


def predict(table, x):
    """Noise, a little knowledge of the label, and `LEAK` more of it where the table says so."""
    x = jnp.asarray(x)
    label = jax.nn.one_hot(x[:, 4].astype(int), 3)
    return x[:, :3] + (1.0 + LEAK * table[x[:, 3].astype(int)])[:, None] * label


def train(rows, key):
    """A recipe whose variables are the table of the pool rows it saw (row i of the pool is record i)."""
    assert rows.dtype == np.int32
    return np.isin(np.arange(N), rows).astype(np.float32)


@pytest.fixture(name="parts")
def make_parts():
    order = np.random.default_rng(1).permutation(N)
    table = train(order[:300].astype(np.int32), None)
    return table, examples(order[:300]), examples(order[300:])


def test_without_shadows_it_is_the_audit_of_its_outputs(parts):
    table, members, nonmembers = parts
    report = audit.audit(lambda x: predict(table, x), members, nonmembers, batch_size=170)
    x, y = np.concatenate([members.x, nonmembers.x]), np.concatenate([members.y, nonmembers.y])
    ids = np.concatenate([members.id, nonmembers.id])
    direct = audit.audit_model(np.asarray(predict(table, x)), y, np.arange(N) < 300, x=x, ids=ids)
    assert report.to_json() == direct.to_json()
    assert report.rows["loss"]["auc"].low > 0.6
    with_variables = audit.audit(predict, members, nonmembers, variables=table)
    assert with_variables.to_json() == direct.to_json()
    probabilities = audit.audit(
        lambda x: jax.nn.softmax(predict(table, x)), members, nonmembers, outputs="probabilities"
    )
    for name, row in probabilities.rows.items():
        assert row["auc"].value == pytest.approx(direct.rows[name]["auc"].value, abs=1e-3)


def test_shadows_set_the_threshold_and_never_see_the_targets_members(parts):
    table, members, nonmembers = parts
    pool = examples(np.arange(N))
    seen = []

    def recipe(rows, key):
        seen.append((rows, jax.random.key_data(key).tolist()))
        return train(rows, key)

    settings = {"recipe": recipe, "pool": pool, "shadows": 3, "key": 5}
    report = audit.audit(predict, members, nonmembers, variables=table, **settings)
    assert report.rows["loss"]["attack_accuracy"].low > 0.6
    assert "3 shadow models" in report.threshold and not [w for w in report.warnings if "pool" in w]
    assert len({tuple(key) for _, key in seen}) == 3
    for rows, _ in seen:
        assert abs(len(rows) - N / 2) < 4 * np.sqrt(N / 4) and (np.diff(rows) > 0).all()
    # Members and non-members change places: the same calls, so the accuracy turns round exactly.
    turned = audit.audit(predict, nonmembers, members, variables=table, **settings)
    for name in report.rows:
        old, new = (r.rows[name]["attack_accuracy"].value for r in (report, turned))
        if name != "yeom":  # whose attacker is told the mean loss of the members
            assert new == pytest.approx(1 - old), name
    # Recipes may return predict functions in place of variables; a key may be JAX's own.
    closed = settings | {"recipe": lambda rows, key: lambda x: predict(train(rows, key), x), "key": jax.random.key(5)}
    same = audit.audit(lambda x: predict(table, x), members, nonmembers, **closed)
    assert same.to_json() == report.to_json()


def test_shadows_know_who_was_in_them_whatever_the_order(parts):
    table, members, nonmembers = parts
    pool = examples(np.arange(N))
    told = []

    def score(signals):
        if len(signals.target) == 550:  # the target, not a fake one on the pool
            told.append((signals.member, signals.values))
        return signals.target

    few = Examples(*(a[50:] for a in members))
    spy = Attack("spy", SIGNALS["phi"], score)
    settings = {"pool": pool, "shadows": 4, "key": 0, "variables": table, "attacks": [spy]}
    trainings = []

    def recipe(rows, key):
        trainings.append(train(rows, key))
        return trainings[-1]

    audit.audit(predict, few, nonmembers, recipe, **settings)
    ids = np.concatenate([few.id, nonmembers.id]) - 1000
    np.testing.assert_array_equal(told[0][0], np.array(trainings)[:, ids] == 1)
    # LEAK shows in phi exactly.
    x = np.concatenate([few.x, nonmembers.x])
    y = np.concatenate([few.y, nonmembers.y])
    for values, variables in zip(told[0][1], trainings, strict=True):
        np.testing.assert_allclose(values, SIGNALS["phi"](predict(variables, x), y))


def test_audited_records_outside_the_pool_are_reported(parts):
    table, members, nonmembers = parts
    pool = Examples(*(np.concatenate([a[:150], b[:150]]) for a, b in zip(members, nonmembers, strict=True)))
    report = audit.audit(predict, members, nonmembers, of_pool(pool), pool, 2, 3, variables=table)
    assert [w for w in report.warnings if "300 of 600 audited records are not in the pool" in w]
    assert report.rows["loss"]["attack_accuracy"].low > 0.6


def of_pool(pool):
    """A recipe whose shadows remember their rows of this pool."""
    return lambda rows, key: np.isin(np.arange(N), (pool.id - 1000)[rows]).astype(np.float32)


def test_a_pool_of_members_alone_is_refused(parts):
    """Who is in it would be the attack: LiRA would read every non-member by shadows that never had it."""
    table, members, nonmembers = parts
    with pytest.raises(ValueError, match="pool lacks 0 of 300 members and 300 of 300 nonmembers.*report a leak"):
        audit.audit(predict, members, nonmembers, of_pool(members), members, 8, 3, variables=table)


def test_a_pool_that_is_not_the_recipes_is_refused(parts):
    """Its rows would be other records', and the shadows' members strangers."""
    _, members, nonmembers = parts
    pool, turned = examples(np.arange(N)), examples(np.arange(N)[::-1])
    recipe = training.Recipe(models.create("mlp", 3, hidden=(4,)), pool, epochs=1)
    with pytest.raises(ValueError, match="pool=recipe.pool"):
        audit.audit(predict, members, nonmembers, recipe, turned, 4, 0, variables=np.zeros(N, np.float32))


def test_overlap_is_refused_by_id_and_by_content(parts):
    table, members, nonmembers = parts
    twin = nonmembers._replace(x=np.concatenate([members.x[7:8].astype(np.float64), nonmembers.x[1:]]))
    same = nonmembers._replace(id=np.concatenate([nonmembers.id[:-1], members.id[5:6]]))
    for bad, words in (
        (twin, r"1 of the nonmembers .* by content, the first nonmembers\[0\] = members\[7\]"),
        (same, r"by id, the first nonmembers\[299\] = members\[5\]"),
        (members, "300 of the nonmembers"),
        (nonmembers._replace(y=nonmembers.y[:9]), "nonmembers.x has 300 rows"),
        (nonmembers._replace(id=np.zeros(300, int)), "repeats"),
        (nonmembers._replace(x=nonmembers.x[:, :2]), "nonmembers.x"),
        (nonmembers._replace(id=members.id), "their x differ: give every record its own id"),
        (nonmembers._replace(id=None), r"nonmembers must be gecko_jax.types.Examples\(x, y, id\)"),
        ((nonmembers.x, nonmembers.y), "nonmembers must be gecko_jax.types.Examples"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.audit(lambda x: predict(table, x), members, bad)


def test_examples_without_ids_are_told_apart(parts):
    """They are numbered from 0 each, which says nothing; ids that somebody chose are not touched."""
    table, members, nonmembers = parts
    bare, others = (Examples(part.x, part.y) for part in (members, nonmembers))
    report = audit.audit(lambda x: predict(table, x), bare, others, attacks=[attacks.loss()])
    named = audit.audit(lambda x: predict(table, x), members, nonmembers, attacks=[attacks.loss()])
    assert report.rows["loss"]["auc"] == named.rows["loss"]["auc"]
    assert records.named_apart(others, bare).id.tolist() == list(range(300, 600))
    assert records.named_apart(others, bare, bare, None).id.tolist() == list(range(600, 900))
    chosen = others._replace(id=np.arange(300)[::-1])
    assert records.named_apart(chosen, bare) is chosen and records.named_apart(others, members) is others
    twin = Examples(np.concatenate([members.x[7:8], nonmembers.x[1:]]), nonmembers.y)
    with pytest.raises(ValueError, match="1 of the nonmembers .* by content"):
        audit.audit(lambda x: predict(table, x), bare, twin)


def test_a_record_is_itself_in_any_type():
    """Bytes, their float32 and their float64 are one record; times that float32 cannot tell apart are several."""
    pixels = np.random.default_rng(2).integers(0, 256, (40, 6)).astype(np.uint8)
    part = lambda x, start: Examples(x, np.zeros(len(x), int), np.arange(start, start + len(x)))  # noqa: E731
    for kind in (np.float32, np.float64, np.int64):
        with pytest.raises(ValueError, match="20 of the nonmembers are among the members by content"):
            records.check_apart(part(pixels[:30], 0), part(pixels[10:].astype(kind), 100))
    times = 1.6e9 + np.arange(100.0)[:, None]
    records.check_apart(part(times[:50], 0), part(times[50:], 100))


def test_bad_predictors_are_named(parts):
    table, members, nonmembers = parts
    for bad, words in (
        (lambda x: (predict(table, x), {}), "returned a tuple"),
        (lambda x: predict(table, x)[:-1], "output of predict has shape"),
        (lambda x: predict(table, x)[:, 0], "output of predict has shape"),
        (lambda x: predict(table, x) * np.nan, "NaN"),
        (lambda x: jax.nn.softmax(predict(table, x)), "are probabilities"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.audit(bad, members, nonmembers)
    with pytest.raises(ValueError, match="Did you mean 'logits'"):
        audit.audit(lambda x: predict(table, x), members, nonmembers, outputs="logit")
    with pytest.raises(ValueError, match="does not hold probabilities"):
        audit.audit(lambda x: predict(table, x), members, nonmembers, outputs="probabilities")


def test_arguments_that_do_not_go_together_are_named(parts):
    table, members, nonmembers = parts
    pool = examples(np.arange(N))
    moved = pool._replace(id=pool.id[::-1].copy())
    renamed = pool._replace(id=pool.id + 5000)
    for settings, words in (
        ({"shadows": 2}, "needs recipe="),
        ({"shadows": 2, "recipe": train, "pool": pool}, "key="),
        ({"shadows": 2, "recipe": train, "pool": pool, "key": "0"}, "key='0' is neither a seed nor one JAX key"),
        ({"shadows": 2, "recipe": train, "pool": pool, "key": -1}, "key=-1 must lie between"),
        ({"queries": lambda x: None}, r"queries\(x\) is a NoneType; expected a list"),
        ({"recipe": train}, "shadows=0"),
        ({"shadows": -1}, "shadows=-1"),
        ({"shadows": 2.5}, "shadows=2.5"),
        ({"attacks": attacks.loss()}, r"attacks=\[attacks.loss\(\)\]"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"shadows": 2, "recipe": train, "pool": moved, "key": 0}, "ids must agree"),
        ({"shadows": 2, "recipe": train, "pool": renamed, "key": 0}, "under another id"),
        ({"shadows": 2, "recipe": train, "pool": pool._replace(x=pool.x[:, :2]), "key": 0}, "pool.x"),
    ):
        with pytest.raises(ValueError, match=words):
            audit.audit(predict, members, nonmembers, variables=table, **settings)
    with pytest.raises(ValueError, match="must return a predict function"):
        audit.audit(lambda x: predict(table, x), members, nonmembers, train, pool, 2, 0)
    one = examples(np.arange(1))
    with pytest.raises(ValueError, match="too few for coins"):
        audit.audit(predict, members, nonmembers, train, one, 2, 0, variables=table)
