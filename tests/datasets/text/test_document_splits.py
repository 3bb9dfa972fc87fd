"""Splits: disjoint, of the shares asked for, the same in any order, and whole by author."""

import numpy as np
import pytest

from gecko_jax.datasets import text

NOTES = text.notes(60, seed=5, authors=9)
SHARES = {"members": 0.4, "nonmembers": 0.4, "validation": 0.1}


def test_parts_are_disjoint_and_as_large_as_asked_whatever_the_order():
    parts = text.split(NOTES, SHARES, seed=1)
    assert [len(part.text) for part in parts.values()] == [24, 24, 6]
    ids = np.concatenate([part.id for part in parts.values()])
    assert len(set(ids.tolist())) == 54
    again = text.split(NOTES.take(np.arange(60)[::-1]), SHARES, seed=1)
    assert all(set(again[name].id.tolist()) == set(parts[name].id.tolist()) for name in SHARES)
    assert set(text.split(NOTES, SHARES, seed=2)["members"].id.tolist()) != set(parts["members"].id.tolist())
    (everything,) = text.split(NOTES, {"all": 1.0}, seed=0).values()
    assert everything.text == NOTES.text


def test_an_author_is_in_one_part_alone():
    parts = text.split(NOTES, {"members": 0.5, "nonmembers": 0.5}, seed=1, by="user")
    users = [set(part.user.tolist()) for part in parts.values()]
    assert not users[0] & users[1] and users[0] | users[1] == set(NOTES.user.tolist())
    assert sum(len(part.text) for part in parts.values()) == 60
    assert all(15 <= len(part.text) <= 45 for part in parts.values())


@pytest.mark.parametrize(
    "documents, shares, options, message",
    [
        (NOTES.take([0]), {"a": 0.5, "b": 0.5}, {}, "1 document cannot be split into a, b"),
        (NOTES, {"a": 0.7, "b": 0.5}, {}, "are 1.2 in sum; expected 1 at most"),
        (NOTES, {"a": 0.0}, {}, r"shares\['a'\]=0.0 must be a finite number above 0"),
        (NOTES, {}, {}, "shares is empty"),
        (NOTES.take([0, 1]), {"a": 0.9, "b": 0.01}, {}, "the part 'b' of 0.01 of 2 documents is empty"),
        (NOTES._replace(user=None), {"a": 0.5}, {"by": "user"}, "needs documents with users"),
        (NOTES, {"a": 0.5}, {"by": "row"}, "by='row' is not known"),
    ],
)
def test_bad_splits_are_refused(documents, shares, options, message):
    with pytest.raises(ValueError, match=message):
        text.split(documents, shares, seed=0, **options)
