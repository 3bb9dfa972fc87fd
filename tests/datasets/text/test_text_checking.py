"""What would make an audit of a split meaningless is said first."""

import numpy as np
import pytest

from gecko_jax.datasets import text

NOTES = text.notes(200, seed=2)
FIRST, SECOND = (NOTES.take(np.arange(200) % 2 == i) for i in (0, 1))


def with_times(documents, times):
    return documents._replace(time=np.array(times))


def test_a_random_split_is_not_warned_of():
    draws = np.random.default_rng(0)
    assert text.check_split(*(with_times(part, draws.normal(size=100)) for part in (FIRST, SECOND))) == []


def test_another_time_is_warned_of_with_its_auc():
    draws = np.random.default_rng(1)
    early, late = draws.normal(size=100), draws.normal(1, 1, size=100)
    auc = np.mean(early[:, None] > late[None]) + 0.5 * np.mean(early[:, None] == late[None])
    (warning,) = text.check_split(with_times(FIRST, early), with_times(SECOND, late))
    assert "of different times" in warning and f"AUC {auc:.3f}" in warning
    days = np.datetime64("2020-01-01T00:00:00") + np.arange(200).astype("timedelta64[D]")
    days[3] = np.datetime64("NaT", "s")
    (warning,) = text.check_split(with_times(FIRST, days[:100]), with_times(SECOND, days[100:]))
    assert "AUC 0.000" in warning
    unknown = np.full(100, np.nan)
    assert text.check_split(with_times(FIRST, unknown), with_times(SECOND, unknown)) == []


def test_another_length_and_shared_lines_are_warned_of():
    longer = SECOND._replace(text=tuple(each + " And so on." * 9 for each in SECOND.text))
    assert "of different lengths" in text.check_split(FIRST, longer)[0]
    copied = SECOND._replace(text=(FIRST.text[0], *SECOND.text[1:]))
    (warning,) = text.check_split(FIRST, copied)
    assert "share 1 long lines and 1 texts" in warning
    with pytest.raises(ValueError, match="1 documents are members and non-members, the first 2"):
        text.check_split(FIRST, SECOND._replace(id=np.array([2, *range(1000, 1099)])))


def test_a_secret_in_the_public_text_is_refused():
    public = text.from_texts(["nothing here", "the secret number is 2 8 1 7 5 3, they say"])
    secrets = ["the secret number is 2 8 1 7 5 3", "the secret number is 9 9 9 9 9 9"]
    with pytest.raises(ValueError, match="public document 1 holds 1 of 2 secrets, the first at character 0"):
        text.check_public(public, secrets=secrets)
    assert text.check_public(public, NOTES, secrets[1:]) == []
    with pytest.raises(ValueError, match="2 private documents are public as well"):
        text.check_public(text.join(FIRST, text.from_texts(["mine"], ids=[-1])), NOTES.take([0, 1, 2]))
    (warning,) = text.check_public(text.from_texts(["words\n" + NOTES.text[7]]), NOTES)
    assert "share 1 long lines, which were never private" in warning
