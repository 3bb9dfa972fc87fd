"""Rows: every token of a document is predicted once, padding never, and masks belong to a row's id."""

import numpy as np
import pytest

from gecko_jax import losses
from gecko_jax.datasets import text

BYTES = text.bytes_tokenizer()
NOTES = text.notes(6, seed=3)._replace(id=np.array([5, 2, 40, -1, -2, 0]))
ROWS = text.rows(NOTES, BYTES, 12)


def test_each_token_but_the_first_is_predicted_exactly_once():
    x, y, ids = ROWS.causal()
    assert x.shape == y.shape == (len(ids), 11) and x.dtype == y.dtype == np.int32
    for name, note in zip(NOTES.id, NOTES.text, strict=True):
        of = ROWS.document == name
        assert y[of][y[of] >= 0].tolist() == BYTES.encode(note)[1:]
        assert ROWS.bytes[of].sum() == len(note.encode()) - 1
        assert (np.asarray(NOTES.user)[NOTES.id == name] == ROWS.user[of]).all()
    assert ((y == -1) == (ROWS.tokens[:, 1:] == 0)).all() and (x[:, 1:][y[:, :-1] >= 0] > 0).all()
    assert len(set(ids.tolist())) == len(ids) and ids.dtype == np.int64


def test_bytes_and_offsets_are_those_of_the_text_for_tokens_of_several_bytes():
    tokenizer = text.learn_bpe(text.notes(30, seed=9), vocabulary=290)
    documents = text.from_texts(["The patient né Bradira Abask. ☃ was seen", "é"])
    rows = text.rows(documents, tokenizer, 5)
    for tokens, name, offset, size in zip(rows.tokens, rows.document, rows.offset, rows.bytes, strict=True):
        content = documents.text[name].encode()
        first = tokenizer.token_bytes[tokens[0]]
        part = content[offset : offset + first + size]
        assert tokenizer.decode(tokens) == part.decode(errors="replace")


def test_a_row_keeps_its_id_among_other_documents():
    fewer = text.rows(NOTES.take([4, 1]), BYTES, 12)
    by_id = dict(zip(ROWS.id.tolist(), ROWS.tokens.tolist(), strict=True))
    assert all(by_id[name] == tokens for name, tokens in zip(fewer.id.tolist(), fewer.tokens.tolist(), strict=True))


def test_masks_are_the_same_for_the_same_id_and_seed():
    x, y, _ = ROWS.masked(seed=4, rate=0.25)
    real = ROWS.tokens != 0
    hidden = y != -1
    assert (np.where(hidden, y, x) == ROWS.tokens).all() and ((x == 1) == hidden).all() and not (hidden & ~real).any()
    assert (hidden.sum(1) == np.maximum(1, np.round(0.25 * real.sum(1)))).all()
    order = np.random.default_rng(0).permutation(len(x))[:20]
    np.testing.assert_array_equal(ROWS.take(order).masked(4, 0.25).x, x[order])
    assert (ROWS.masked(5, 0.25).x != x).any(1).mean() > 0.5
    # Every place of a full row is masked equally often, over many ids.
    full = ROWS.take(np.zeros(4000, int))._replace(id=np.arange(4000))
    share = (full.masked(0, 0.25).y != -1).mean(0)
    assert abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_the_losses_take_the_rows():
    import jax.numpy as jnp

    from gecko_jax.types import Batch

    x, y, _ = ROWS.causal()
    logits = np.random.default_rng(0).normal(size=(*y.shape, BYTES.vocabulary)).astype(np.float32)
    loss = losses.sequence_cross_entropy(padding=-1)
    loss.check(jnp.zeros((11, BYTES.vocabulary)), Batch(x, y, None))
    row = int(np.argmin((y >= 0).sum(1)))
    shifted = logits[row].astype(np.float64)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    expected = -np.mean([log_p[t, token] for t, token in enumerate(y[row]) if token >= 0])
    assert float(loss.apply(logits[row], Batch(x[row], y[row], None))) == pytest.approx(expected, rel=1e-5)


def test_sensitive_tokens_are_those_of_the_spans():
    marks = text.sensitive_tokens(ROWS, NOTES, BYTES)
    by_name = dict(zip(NOTES.id.tolist(), range(6), strict=True))
    for row in range(len(ROWS.id)):
        i, offset = by_name[int(ROWS.document[row])], int(ROWS.offset[row])
        expected = [any(s.start <= offset + t < s.end for s in NOTES.secrets[i]) and token > 0
                    for t, token in enumerate(ROWS.tokens[row])]  # fmt: skip
        assert marks[row].tolist() == expected
    documents = text.from_texts(["né ☃ 42"])
    rows = text.rows(documents, BYTES, 12)
    shown = text.sensitive_tokens(rows, documents, BYTES, [[text.Span(3, 4, "sign")]])[0]
    assert np.flatnonzero(shown).tolist() == [4, 5, 6]
    with pytest.raises(ValueError, match="no sensitive passages for 1 documents"):
        text.sensitive_tokens(rows, documents, BYTES)
    with pytest.raises(ValueError, match=r"\(5, 9, 'x'\) lies outside its document of 7 characters"):
        text.sensitive_tokens(rows, documents, BYTES, [[text.Span(5, 9, "x")]])
    with pytest.raises(ValueError, match="is not among the documents"):
        text.sensitive_tokens(ROWS, documents, BYTES, [[]])


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match="none of 1 documents has 2 tokens"):
        text.rows(text.from_texts(["a"]), BYTES, 4)
    with pytest.raises(ValueError, match="length=1 must be at least 2"):
        text.rows(NOTES, BYTES, 1)
    with pytest.raises(ValueError, match="min_tokens=9 must lie between 2 and 8"):
        text.rows(NOTES, BYTES, 8, min_tokens=9)
    with pytest.raises(ValueError, match=r"ids of 2\^42 or more"):
        text.rows(NOTES.take([0])._replace(id=np.array([2**42])), BYTES, 8)
    for use in (lambda twice: text.rows(twice, BYTES, 8), lambda twice: text.split(twice, {"a": 0.5, "b": 0.5}, 0)):
        with pytest.raises(ValueError, match="ids must be unique"):
            use(NOTES.take([0, 1, 0]))
    with pytest.raises(ValueError, match="encoded as tokens 0 to 0; expected 1 to 258"):
        text.rows(NOTES, BYTES._replace(encode=lambda each: [0] * 4), 8)
    with pytest.raises(ValueError, match="mask=100 is a token of the rows"):
        ROWS.masked(0, mask=100)
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match="rate="):
            ROWS.masked(0, rate)
    assert (text.rows(NOTES, BYTES, 12, min_tokens=12).tokens > 0).all()


def test_every_document_has_its_author():
    documents = text.from_texts(["abc", "de"])._replace(user=np.array(["ann"] * 3))
    with pytest.raises(ValueError, match=r"documents.user has shape \(3,\); expected \(2\)"):
        text.rows(documents, text.bytes_tokenizer(), 4)
