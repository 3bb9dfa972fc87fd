"""What is read off language models: losses against NumPy's in float64, neighbors' draws, and shadows in one program."""

from __future__ import annotations

import zlib

import jax
import numpy as np
import optax
import pytest
from scipy import special, stats

from gecko_jax import audit, datasets, losses, models, probes, signals, training
from gecko_jax.datasets import text
from gecko_jax.types import Examples, Model

VOCABULARY, LENGTH, N, M = 24, 9, 60, 4
MODEL, SEES_ALL = (
    models.create(name, VOCABULARY, layers=1, width=16, heads=2, max_length=LENGTH)
    for name in ("transformer", "masked_transformer")
)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(3, VOCABULARY, (N, LENGTH)).astype(np.int32)
TOKENS[np.arange(LENGTH)[None] >= RNG.integers(4, LENGTH + 1, N)[:, None]] = 0
IDS = RNG.permutation(1000)[:N]


def causal(tokens):
    y = np.where(tokens[:, 1:] == 0, -1, tokens[:, 1:])
    return Examples(tokens[:, :-1], y.astype(np.int32), IDS[: len(tokens)])


ROWS = causal(TOKENS)
MEMBER = datasets.membership.coins(IDS, M, seed=0)


@pytest.fixture(name="pretrained", scope="module")
def initial_variables():
    return jax.device_get(jax.jit(MODEL.init)(jax.random.key(0), ROWS.x))


@pytest.fixture(name="fitted", scope="module")
def fine_tuned(pretrained):
    """M copies, fine-tuned in one program from one start, of which the embedding stays."""
    start = jax.tree.map(lambda leaf: np.stack([leaf] * M), pretrained)
    return training.fit_ensemble(
        MODEL,
        ROWS,
        MEMBER,
        loss=losses.sequence_cross_entropy(padding=-1),
        optimizer=optax.adam(1e-2),
        epochs=12,
        batch_size=16,
        init=start,
        trainable=["block0", "head"],
    ).variables


def by_hand(variables, rows):
    """-log p of each token that counts, record by record, from float64 logits."""
    logits = np.asarray(jax.jit(lambda x: MODEL.apply(variables, x)[0])(rows.x), np.float64)
    return [
        [-special.log_softmax(at)[token] for at, token in zip(of_row, y, strict=True) if token >= 0]
        for of_row, y in zip(logits, rows.y, strict=True)
    ]


def test_losses_are_those_of_the_logits(pretrained):
    """In any batch size; padding counts nothing, and its tokens change nothing."""
    values = probes.token_losses(MODEL, pretrained, ROWS.x, ROWS.y, batch_size=16)
    oracle = by_hand(pretrained, ROWS)
    assert values.dtype == np.float64 and (values[ROWS.y < 0] == 0).all()
    for row, y, wanted in zip(values, ROWS.y, oracle, strict=True):
        np.testing.assert_allclose(row[y >= 0], wanted, rtol=1e-5)
    np.testing.assert_allclose(probes.token_losses(MODEL, pretrained, ROWS.x, ROWS.y), values, rtol=1e-5)


def test_a_confident_model_keeps_its_digits():
    """Losses of 1e-20 are told from 2e-20, which float32's 1 - p cannot."""
    table = np.zeros((3, 4), np.float32)
    table[:, 2] = [46.0, 45.0, 0.0]
    sure = Model(None, lambda variables, x, **_: (variables[x], {}))
    got = probes.token_losses(sure, jax.numpy.asarray(table), np.array([[0, 1]]), np.array([[2, 2]]))
    np.testing.assert_allclose(got, [np.log1p(3 * np.exp([-46.0, -45.0]))], rtol=1e-5)


def test_signals_of_texts_by_loops(pretrained):
    tokenizer = text.bytes_tokenizer()
    lower = causal(np.where(TOKENS > 12, TOKENS - 9, TOKENS))
    drawn = [causal(np.where(TOKENS > 0, (TOKENS + k) % 20 + 3, 0)) for k in (1, 2)]
    lengths = RNG.integers(9, 30, N)
    values = probes.language_signals(
        MODEL, pretrained, ROWS, lowercase=lower, zlib_bytes=lengths, neighbors=drawn, batch_size=16
    )
    oracle = by_hand(pretrained, ROWS)
    loss = np.array([np.mean(row) for row in oracle])
    least = [np.sort(row)[::-1][: int(np.ceil(0.2 * len(row)))] for row in oracle]
    of_lower, *of_drawn = ([np.mean(row) for row in by_hand(pretrained, rows)] for rows in (lower, *drawn))
    wanted = {
        "sequence_loss": loss,
        "min_20_probability": [-row.mean() for row in least],
        "lowercase_ratio": loss / of_lower,
        "zlib_ratio": loss / lengths,
        "neighborhood": loss - np.mean(of_drawn, axis=0),
    }
    assert set(values) == set(wanted) and set(wanted) <= set(signals.SIGNALS)
    for name, array in wanted.items():
        np.testing.assert_allclose(values[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    # Several masks of the same texts are read as one longer text.
    both = probes.language_signals(MODEL, pretrained, [ROWS, lower], batch_size=16)["sequence_loss"]
    longer = [np.mean([*a, *b]) for a, b in zip(oracle, by_hand(pretrained, lower), strict=True)]
    np.testing.assert_allclose(both, longer, rtol=1e-5)
    # The texts themselves: a tokenizer's own bytes.
    words = ["Dr. Ann MAY", "ann may ann may ann may", "ÄÖ"]
    tokens = np.zeros((3, 30), np.int32)
    for row, word in zip(tokens, words, strict=True):
        row[: len(tokenizer.encode(word))] = tokenizer.encode(word)
    assert probes.zlib_bytes(tokens, tokenizer).tolist() == [len(zlib.compress(word.encode())) for word in words]
    assert [tokenizer.decode(row) for row in probes.lowercased(tokens, tokenizer)] == [word.lower() for word in words]
    assert probes.lowercased(tokens, tokenizer, 2).shape == (3, 2)
    merged = tokenizer._replace(encode=lambda text: [9] if text == "the" else tokenizer.encode(text))
    the = np.array([[*tokenizer.encode("THE"), 0]])
    assert probes.lowercased(the, merged).tolist() == the.tolist()  # one token alone predicts nothing


def test_shadows_that_were_fine_tuned_together_are_attacked(pretrained, fitted):
    """Each model a target in turn, the pre-trained copy beside it: every attack finds what training left."""
    drawn = probes.neighbors(MODEL, pretrained, TOKENS, IDS, count=3, share=0.4, batch_size=N)
    others = [causal(tokens) for tokens in drawn]
    values = probes.language_signals(MODEL, fitted, ROWS, neighbors=others, ensemble=True, batch_size=N)
    reference = probes.language_signals(MODEL, pretrained, ROWS, batch_size=N)
    last = jax.tree.map(lambda leaf: leaf[M - 1], fitted)
    np.testing.assert_allclose(values["sequence_loss"][M - 1], [np.mean(row) for row in by_hand(last, ROWS)], rtol=1e-4)
    asked = ["loss", "reference_ratio", "min_k", "neighborhood", "lira_offline", "rmia"]
    report = audit.from_signals(values, MEMBER, asked, references={"pretrained": reference})
    assert all(row["auc"].value > 0.75 for row in report.rows.values())
    alone = report.baselines["reference model pretrained by sequence_loss"]
    assert alone.low < 0.5 < alone.high


def proposer(table):
    """A model whose logits at each place are those of the token there."""
    return Model(None, lambda variables, x, **_: (variables[x], {})), jax.numpy.asarray(table, np.float32)


@pytest.mark.parametrize("mask", [None, 1])
def test_neighbors_are_drawn_by_the_proposals(mask):
    rng = np.random.default_rng(1)
    model, table = proposer(rng.normal(size=(8, 8)))
    n = 4000
    tokens = np.tile(np.array([[3, 4, 5, 6, 7, 0]], np.int32), (n, 1))
    drawn = probes.neighbors(model, table, tokens, count=2, share=0.2, mask=mask, batch_size=n)
    assert drawn.shape == (2, n, 6) and (drawn[..., 5] == 0).all() and (drawn[0] != drawn[1]).any()
    changed = drawn != tokens
    assert (changed.sum(-1) == 1).all()
    places = range(5) if mask else range(1, 5)  # a causal model has nothing before the first
    counts = [int(changed[..., place].sum()) for place in range(5)]
    assert stats.chisquare([counts[place] for place in places]).pvalue > 1e-4
    assert mask or counts[0] == 0
    place = 2  # 5, after a 4
    logits = np.array(table, np.float64)[mask or 4]
    allowed = np.array([3, 4, 6, 7])
    taken = drawn[..., place][changed[..., place]]
    assert set(taken.tolist()) == set(allowed.tolist())
    p = special.softmax(logits[allowed])
    assert stats.chisquare([(taken == token).sum() for token in allowed], p * len(taken)).pvalue > 1e-4


def test_neighbors_are_a_function_of_the_rows_id():
    model, table = proposer(np.random.default_rng(2).normal(size=(VOCABULARY, VOCABULARY)))
    drawn = probes.neighbors(model, table, TOKENS, IDS, count=2, batch_size=N)
    order = RNG.permutation(N)[:17]
    np.testing.assert_array_equal(probes.neighbors(model, table, TOKENS[order], IDS[order], count=2), drawn[:, order])
    assert (probes.neighbors(model, table, TOKENS, IDS, count=1, seed=1, batch_size=N)[0] != drawn[0]).any()
    assert ((drawn == 0) == (TOKENS == 0)[None]).all() and (drawn[..., 0] == TOKENS[:, 0]).all()


HIDDEN = np.where(np.arange(LENGTH) % 3 == 1, 1, TOKENS), np.where(np.arange(LENGTH) % 3 == 1, TOKENS, -1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda v: probes.token_losses(MODEL, v, ROWS.x[:, :3], ROWS.y), r"y has shape \(60, 8\); expected \(60, 3\)"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.x * 1.0, ROWS.y), "x has dtype float64; expected tokens"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.x, ROWS.y + 90), "y runs to 113; the model has logits for 0..23"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.x, ROWS.y * 0 - 1), r"y\[0\] has no token that counts"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.x + 90, ROWS.y), "the loss of token 0 of row 0 is nan"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.x, ROWS.x), "y are not the next tokens of x, which a causal"),
        (lambda v: probes.token_losses(MODEL, v, ROWS.y.clip(0), ROWS.x), "y are not the next tokens of x"),
        (lambda v: probes.token_losses(MODEL, v, *HIDDEN), "y are not the next tokens of x.*a masked model, rows.mask"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS, mask=1), "mask=1 is for a masked model, and this one sees no"),
        (lambda v: probes.neighbors(SEES_ALL, v, TOKENS), "mask=None, and the model sees later tokens"),
        (lambda v: probes.language_signals(MODEL, v, ROWS, zlib_bytes=[3, 4]), r"zlib_bytes has shape \(2,\)"),
        (lambda v: probes.language_signals(MODEL, v, ROWS, zlib_bytes=np.zeros(N)), "a compressed text has at"),
        (lambda v: probes.language_signals(MODEL, v, ROWS, lowercase=causal(TOKENS[:9])), r"case has shape \(9,\)"),
        (lambda v: probes.language_signals(MODEL, v, [ROWS, causal(TOKENS[:9])]), r"rows.x has shape \(9, 8\)"),
        (lambda v: probes.language_signals(MODEL, v, []), "rows is empty"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS[0]), r"tokens has shape \(9,\)"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS, share=0), "share=0 must be a finite number above 0"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS * [1] + TOKENS * [[0]], count=0), "count=0 must be at least 1"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS * (np.arange(LENGTH) < 1)), r"tokens\[0\] has no token"),
        (lambda v: probes.neighbors(MODEL, v, TOKENS[:, :-1], special=range(VOCABULARY)), "leaves no token to propose"),
    ],
)
def test_what_cannot_be_read_is_refused(pretrained, call, words):
    with pytest.raises(ValueError, match=words):
        call(pretrained)


def test_a_classifier_is_not_a_language_model():
    classifier = Model(None, lambda variables, x, **_: (variables[x].mean(1), {}))
    with pytest.raises(ValueError, match=r"shape \(1, 8\) for tokens \(1, 8\); expected \(1, 8, vocabulary\)"):
        probes.token_losses(classifier, jax.numpy.zeros((VOCABULARY, 8)), ROWS.x, ROWS.y)
