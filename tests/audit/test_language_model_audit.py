"""The door for language models: the same figures as from values read by hand, and what is said first of the records."""

from __future__ import annotations

from collections import Counter

import jax
import numpy as np
import pytest

from gecko_jax import audit, metrics, probes
from gecko_jax.datasets import text
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Model

N, M, MASK = 120, 3, 1
TOKENIZER = text.bytes_tokenizer()
NOTES = text.notes(N, seed=0, authors=12)
EVERY = text.rows(NOTES, TOKENIZER, 16)
ROWS = EVERY.take(np.unique(EVERY.document, return_index=True)[1] + 6)  # one of each note, none of them its heading
RNG = np.random.default_rng(0)
TABLES = [jax.numpy.asarray(table, np.float32) for table in RNG.normal(size=(M + 1, 259, 259))]
# Logits at a place follow from the token there: causal, and of a masked model all that the mask tells.
MODEL = Model(None, lambda variables, x, **_: (variables[x], {}))
REFERENCES = {"pretrained": (MODEL, TABLES[M])}
MEMBER = RNG.random(N) < 0.5


def loss_by_hand(table, x, y):
    """Mean -log p of the tokens that count, row by row."""
    table = np.asarray(table, np.float64)
    log_p = table - np.log(np.exp(table).sum(1, keepdims=True))
    return np.array([
        np.mean([-log_p[before, after] for before, after in zip(*row, strict=True) if after >= 0])
        for row in zip(x, y, strict=True)
    ])  # fmt: skip


def auc(scores, member=MEMBER):
    return pytest.approx(metrics.roc_auc(scores, member), abs=1e-9)


def test_one_causal_model_with_everything():
    report = audit.audit_language_model(
        MODEL, TABLES[0], ROWS, MEMBER, references=REFERENCES, tokenizer=TOKENIZER, neighbors=2
    )
    x, y, _ = ROWS.causal()
    loss, reference = loss_by_hand(TABLES[0], x, y), loss_by_hand(TABLES[M], x, y)
    drawn = probes.neighbors(MODEL, TABLES[M], ROWS.tokens, ROWS.id, count=2)
    others = [loss_by_hand(TABLES[0], *ROWS._replace(tokens=tokens).causal()[:2]) for tokens in drawn]
    lower = ROWS._replace(tokens=probes.lowercased(ROWS.tokens, TOKENIZER)).causal()
    wanted = {
        "loss": -loss,
        "reference_ratio": reference - loss,
        "zlib_ratio": -loss / probes.zlib_bytes(ROWS.tokens, TOKENIZER),
        "lowercase_ratio": -loss / loss_by_hand(TABLES[0], lower.x, lower.y),
        "neighborhood": np.mean(others, axis=0) - loss,
    }
    assert set(report.rows) == {*wanted, "min_k", "yeom"}
    for name, scores in wanted.items():
        assert report.rows[name]["auc"].value == auc(scores), name
    assert report.baselines["reference model pretrained"].value == auc(-reference)
    assert set(report.baselines) == {"records", "reference model pretrained"}
    assert set(report.most_exposed.id) <= set(ROWS.id[MEMBER])


def test_masked_models_are_read_under_the_same_masks():
    report = audit.audit_language_model(
        MODEL, TABLES[0], ROWS, MEMBER, ["loss", "reference_ratio"], references=REFERENCES, mask=MASK, masks=2, seed=3
    )
    parts = [ROWS.masked(3000 + i, 0.15, MASK) for i in range(2)]
    x, y = (np.concatenate([np.array(getattr(part, name)) for part in parts], 1) for name in ("x", "y"))
    loss, reference = (loss_by_hand(table, x, y) for table in (TABLES[0], TABLES[M]))
    assert report.rows["loss"]["auc"].value == auc(-loss)
    assert report.rows["reference_ratio"]["auc"].value == auc(reference - loss)


def test_each_of_several_models_and_their_users():
    users = np.unique(ROWS.user)
    of_users = RNG.random((M, len(users))) < 0.5
    of_users[:, :4] = [False, False, True, True]
    member = of_users[:, np.searchsorted(users, ROWS.user)]
    stacked = jax.numpy.stack(TABLES[:M])
    settings = dict(attacks=["loss", "reference_ratio"], references=REFERENCES)
    report = audit.audit_language_model(MODEL, stacked, ROWS, member, by_user=True, **settings)
    x, y, _ = ROWS.causal()
    of_rows = [loss_by_hand(table, x, y) for table in TABLES]
    loss = np.array([[row[ROWS.user == user].mean() for user in users] for row in of_rows])
    for i in range(M):
        assert report.targets[i]["loss"]["auc"].value == auc(-loss[i], of_users[i])
        assert report.targets[i]["reference_ratio"]["auc"].value == auc(loss[M] - loss[i], of_users[i])
    assert f"{len(users)} users" in report.notes[0]
    assert report.most_exposed.id is None  # no user is named
    by_row = audit.audit_language_model(MODEL, stacked, ROWS, member, **settings)
    assert by_row.targets[1]["loss"]["auc"].value == auc(-of_rows[1], member[1])
    assert not any("documents" in each for each in by_row.warnings)
    assert by_row.notes[0].startswith("All rows of each user are members, or none is.")
    counts = Counter(map(tuple, ROWS.tokens.tolist())).values()
    assert any(f"{sum(c for c in counts if c > 1)} of {N} rows have a twin" in each for each in by_row.warnings)
    bag = audit.bag_of_tokens(ROWS.tokens).toarray()
    assert bag.tolist() == [np.bincount(row[row > 0], minlength=bag.shape[1]).tolist() for row in ROWS.tokens]


def test_texts_of_another_kind_are_told_first():
    """Members in capital letters: no model is needed, and the first sentence says so."""
    capitals = TOKENIZER.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    tokens = np.where(MEMBER[:, None] & (RNG.random(ROWS.tokens.shape) < 0.5), RNG.choice(capitals), ROWS.tokens)
    report = audit.audit_language_model(MODEL, TABLES[0], ROWS._replace(tokens=tokens.astype(np.int32)), MEMBER)
    assert report.baselines["records"].value > 0.9 and "by the records: AUC" in report.warnings[0]
    # Rows of one document of both kinds, and rows of the same tokens.
    both = ROWS.take(np.repeat(np.arange(N // 2), 2))
    twice = both._replace(id=np.arange(N), document=both.document)
    warnings = audit.audit_language_model(MODEL, TABLES[0], twice, np.arange(N) % 2 == 0).warnings
    assert any(f"{N} of {N} rows have a twin" in each for each in warnings)
    grouped = audit.audit_language_model(MODEL, TABLES[0], twice, both.document % 2 == 0)
    assert "All rows of each document are members, or none is" in grouped.notes[0]
    assert any("60 documents have rows that are members and rows that are not" in each for each in warnings)


LOOKING = Model(None, lambda variables, x, **_: (variables[x[:, ::-1]], {}))  # reads tokens from behind
CLAIM = Epsilon(1.0, 1e-5, "add_or_remove", "pld", ())
OF_FEW = CLAIM._replace(records=20, rows_per_user=500)  # people had more rows in training than are audited
PAIRS = np.empty(N, np.int64)  # rows of one membership, two by two
for kind in (False, True):
    PAIRS[kind == MEMBER] = np.arange((kind == MEMBER).sum()) // 2 + N * kind
GROUPED, BY_AUTHOR = ROWS._replace(document=PAIRS), ROWS._replace(user=PAIRS.astype(str))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": LOOKING}, "y are the next tokens of x, and the model sees them.*rows.masked"),
        ({"member": np.stack([MEMBER] * 2)}, r"member has 2 rows and variables are of 259 models"),
        ({"member": MEMBER[:9]}, r"member has shape \(9,\); expected \(120\)"),
        ({"neighbors": 2, "references": None}, "neighbors=2 are proposed by a reference"),
        ({"by_user": True, "rows": ROWS._replace(user=None)}, "by_user=True needs rows.user"),
        ({"by_user": True, "claimed_epsilon": CLAIM, "coins": True}, "protects 1 record of a user together"),
        ({"by_user": True, "claimed_epsilon": OF_FEW, "coins": True}, "protects 20 record.*up to 500"),
        ({"rows": GROUPED, "claimed_epsilon": CLAIM, "coins": True}, "members were drawn by document.*up to 2 rows"),
        ({"rows": BY_AUTHOR, "claimed_epsilon": CLAIM, "coins": True}, "members were drawn by user.*up to 2 rows"),
        ({"by_user": True}, "member marks .* of the .* records of user"),
        ({"mask": MASK, "masks": 0}, "masks=0 must be at least 1"),
        ({"references": {"self": (MODEL, TABLES[0])}}, "has the values of model 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, words):
    settings = dict(model=MODEL, variables=TABLES[0], rows=ROWS, member=MEMBER, references=REFERENCES) | change
    with pytest.raises(ValueError, match=words):
        audit.audit_language_model(**settings)


def test_a_bag_needs_tokens():
    with pytest.raises(ValueError, match="tokens has dtype float64"):
        audit.bag_of_tokens(np.zeros((2, 2)))


def test_authors_that_were_replaced_are_one_person_in_any_spelling():
    """A claim for one row says nothing of a person's rows, however their name is spelled in each."""
    owners = np.repeat([f"author {i}" for i in range(N // 2)], 2)
    spelled = np.array([name if i % 2 else f" {name}" for i, name in enumerate(owners)])
    member = np.repeat(np.random.default_rng(1).random(N // 2) < 0.5, 2)
    rows = ROWS._replace(document=np.arange(N))
    for user in (owners, spelled):
        with pytest.raises(ValueError, match="members were drawn by user, with up to 2 rows"):
            audit.audit_language_model(MODEL, TABLES[0], rows._replace(user=user), member, claimed_epsilon=CLAIM)
    with pytest.raises(ValueError, match=r"rows.user has shape \(5,\)"):
        audit.audit_language_model(MODEL, TABLES[0], rows._replace(user=owners[:5]), member)
