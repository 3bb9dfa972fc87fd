"""Another secret at the same place changes one row, and no redacted row: `fit_twice` promises no less."""

import numpy as np
import pytest

from gecko_jax.datasets.text import bytes_tokenizer, from_texts, learn_bpe
from gecko_jax.datasets.text.policies import matching
from gecko_jax.datasets.text.selective import selective_rows
from gecko_jax.datasets.text.selective_check import check_rows
from gecko_jax.datasets.text.spans import spans_of

BRACED = matching(r"\{[^}]*\}")  # a secret stands in braces
WORDS = ["the", "ward", "is", "full", "today", "and", "nurse", "one", "two"]


@pytest.fixture(scope="module")
def byte_pairs():
    return learn_bpe(["the ward is full today and nurse one two {the} {ward} {12} {13}"] * 3, 300)


def drawn_texts(rng, n=6):
    texts = []
    for _ in range(n):
        words = [str(rng.choice(WORDS)) for _ in range(rng.integers(2, 25))]
        for _ in range(rng.integers(1, 4)):
            words.insert(int(rng.integers(0, len(words))), secret(rng))
        texts.append("".join(word + str(rng.choice([" ", ""])) for word in words))
    return texts


def secret(rng):
    return "{" + "".join(rng.choice(list("theward12 é"), rng.integers(0, 30))) + "}"


def with_another_secret(text, rng):
    """The text with one joined passage of secrets replaced by a secret of any length."""
    spans = spans_of(BRACED, text)
    start, end = spans[rng.integers(len(spans))]
    return text[:start] + secret(rng) + text[end:]


@pytest.mark.parametrize("kind", ["bytes", "byte pairs"])
def test_another_secret_changes_one_row_and_no_redacted_row(kind, byte_pairs):
    rng, tokenizer = np.random.default_rng(1), bytes_tokenizer() if kind == "bytes" else byte_pairs
    changed = 0
    for _ in range(40):
        texts = drawn_texts(rng)
        i = int(rng.integers(len(texts)))
        others = [*texts[:i], with_another_secret(texts[i], rng), *texts[i + 1 :]]
        rows, neighbor = (selective_rows(from_texts(t), tokenizer, 12, BRACED, 5) for t in (texts, others))
        np.testing.assert_array_equal(rows.redacted, neighbor.redacted)
        np.testing.assert_array_equal(rows.document, neighbor.document)
        assert (rows.tokens != neighbor.tokens).any(1).sum() <= 1
        changed += (rows.tokens != neighbor.tokens).any()
    assert changed > 30


def test_encoding_secrets_together_with_their_neighbors_would_leak(byte_pairs):
    """A control: the same byte pairs over the whole text merge across the brace, and the public part differs."""
    one, two = byte_pairs.encode("ward{12}"), byte_pairs.encode("ward{the}")
    assert byte_pairs.encode("ward") + byte_pairs.encode("{12}") != one or one[: len(two)] != two
    separate = [selective_rows(from_texts([f"the ward{each}is full"]), byte_pairs, 20, BRACED, 5).redacted
                for each in ("{12}", "{the}")]  # fmt: skip
    np.testing.assert_array_equal(*separate)


def test_public_words_are_all_there_once_and_secrets_once():
    tokenizer = bytes_tokenizer()
    rng = np.random.default_rng(2)
    for text in drawn_texts(rng, 20):
        rows = selective_rows(from_texts([text]), tokenizer, 110, BRACED, 105)
        parts = []
        for i, (row, place) in enumerate(zip(rows.tokens, rows.place, strict=True)):
            repeated = i > 0 and place[0] == 0 and rows.place[i - 1][rows.tokens[i - 1] > 0][-1] == 0
            parts += row[int(repeated) :].tolist()
        ended = tokenizer.decode(parts)
        assert text.startswith(ended) and len(text) - len(ended) <= 1  # a last row of one token is dropped
        check_rows(rows)


def test_examples_for_a_causal_model():
    tokenizer = bytes_tokenizer()
    rows = selective_rows(from_texts(["ab{12}cd", "{9}{8}"], user=["x", "y"]), tokenizer, 10, BRACED, 6)
    assert len(rows.tokens) == 1 and rows.user.tolist() == ["x"]  # the second has no public word at all
    a, b, c, d = tokenizer.encode("abcd")
    assert rows.redacted[0].tolist() == [a, b, tokenizer.mask, c, d, 0, 0, 0, 0, 0]
    first, second = rows.first(), rows.second()
    assert first.x[0].tolist() == [a, b, tokenizer.mask, c, d, 0, 0, 0, 0]
    assert first.y[0].tolist() == [b, -1, c, d, -1, -1, -1, -1, -1]
    assert second.y[0].tolist() == [b, *tokenizer.encode("{12}"), c, d, -1, -1]
    assert rows.sensitive_targets()[0].tolist() == [False, True, True, True, True, False, False, False, False]
    assert rows.cut == 0 and selective_rows(from_texts(["ab{12}cd"]), tokenizer, 10, BRACED, 3).cut == 1


def test_rows_of_which_nothing_is_left_are_not_trained_on_first():
    rows = selective_rows(from_texts(["a{1}", "abc"]), bytes_tokenizer(), 8, BRACED, 4)
    assert rows.first().id.tolist() == [1] and rows.second().id.tolist() == [0, 1]


def test_the_rows_of_a_secret_of_a_document_and_of_a_user_are_counted():
    texts = ["ab{1}cd{2}ef{1}gh{3}", "ij{1}kl", "mn op"]
    rows = selective_rows(from_texts(texts, user=["x", "x", "y"]), bytes_tokenizer(), 6, BRACED, 4)
    naive = {}
    for row, owner, user in zip(rows.tokens, rows.document, rows.user, strict=True):
        text = bytes_tokenizer().decode(row)
        for name in {f"secret {each}" for each in ("1", "2", "3") if "{" + each + "}" in text}:
            naive[name] = naive.get(name, 0) + 1
        if "{" in text:
            for name in (f"document {owner}", f"user {user}"):
                naive[name] = naive.get(name, 0) + 1
    for unit in ("secret", "document", "user"):
        assert rows.rows_per(unit) == max(count for name, count in naive.items() if name.startswith(unit))
    assert rows.rows_per("secret") == 3 and rows.rows_per("user") == 5
    with pytest.raises(ValueError, match="rows.user is None"):
        rows._replace(user=None).rows_per("user")
    with pytest.raises(ValueError, match="unit='author'"):
        rows.rows_per("author")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"length": 1}, "length=1"),
        ({"secret_length": 8}, "secret_length=8"),
        ({"secret_length": 0}, "secret_length=0"),
        ({"documents": from_texts(["{only}"])}, "no row of two tokens"),
        ({"tokenizer": bytes_tokenizer()._replace(padding=100)}, "special id 100"),
        ({"tokenizer": bytes_tokenizer()._replace(mask=100)}, "special id 100"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    usual = dict(documents=from_texts(["ab{1}"]), tokenizer=bytes_tokenizer(), length=8, policy=BRACED, secret_length=4)
    with pytest.raises(ValueError, match=words):
        selective_rows(**(usual | change))


def test_changed_rows_are_refused():
    rows = selective_rows(from_texts(["ab{1}cd", "ef{2}"]), bytes_tokenizer(), 8, BRACED, 4)
    assert check_rows(rows) is rows
    swapped, shown = rows.redacted[::-1], rows.redacted.copy()
    shown[1, 2] = rows.tokens[1, 2]  # one character of a secret in place of its marker
    for redacted, row in ((swapped, 0), (shown, 1)):
        with pytest.raises(ValueError, match=rf"rows.redacted\[{row}\] is not rows.tokens\[{row}\]"):
            check_rows(rows._replace(redacted=redacted))


def test_owners_that_were_replaced_are_checked_and_counted_as_one_person():
    """Two spellings of one person would make the most rows of a person half of what they are."""
    texts = ["a {1} b", "c {2} d", "e f {3}", "g h i"]
    rows = selective_rows(from_texts(texts, user=["Ann", "Ann", "Bo", "Ann"]), bytes_tokenizer(), 20, BRACED, 5)
    assert rows.rows_per("user") == 2  # Ann's third row has no secret
    spelled = rows._replace(user=np.array(["Ann", " Ann", "Ann ", "Bo"]))
    assert check_rows(spelled).rows_per("user") == 3
    for changed, words in [
        (rows._replace(user=np.array(["Ann", "ann", "Bo", "Cy"])), "are they one person"),
        (rows._replace(user=np.array(["Ann", "Ann", "Bo"])), r"rows.user has shape \(3,\); expected \(4\)"),
        (rows._replace(user=["Ann", None, "Bo", "Cy"]), "rows.user.1. is None"),
    ]:
        for read in (check_rows, lambda rows: rows.rows_per("user")):
            with pytest.raises(ValueError, match=words):
                read(changed)
    for changed, words in [
        (rows._replace(document=rows.document[:3]), r"rows.document has shape \(3,\)"),
        (rows._replace(secrets=rows.secrets[1:]), r"rows.secrets has shape \(3,\)"),
        (rows._replace(secrets=((), *rows.secrets[1:])), r"rows.secrets\[0\] lists 0 secrets, .* marks 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            check_rows(changed)
    with pytest.raises(ValueError, match=r"documents.user has shape \(5,\); expected \(4\)"):
        longer = from_texts(texts)._replace(user=np.array(["Ann"] * 5))
        selective_rows(longer, bytes_tokenizer(), 20, BRACED, 5)
