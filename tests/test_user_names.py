"""One person in two spellings: every door that counts, groups or splits people reads one name, or refuses."""

import numpy as np
import pytest

from gecko_jax import audit, privacy
from gecko_jax.datasets import text
from gecko_jax.user_names import normalized_names

COMPOSED, DECOMPOSED = "Ren\u00e9 Roux", "Rene\u0301  Roux "  # the same name, encoded in two ways
TWO = [COMPOSED, "Ann", DECOMPOSED, "Bo"] * 3
CASES = ["Ann", "Bo", "ann", "Cy"] * 3
MEMBER = np.array([name[0] == "R" for name in TWO])
LOSSES = np.arange(12.0)


def test_blanks_and_accents_keep_nobody_apart():
    assert COMPOSED != DECOMPOSED
    assert normalized_names("users", TWO).tolist() == [COMPOSED, "Ann", COMPOSED, "Bo"] * 3
    assert normalized_names("users", [b"Ann", "Ann"]).tolist() == ["Ann", "Ann"]


HIDDEN = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\ufe0f", "\u034f", "\u180b", "\U000e0100")
DASHES, QUOTES = "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "\u2019\u2018\u02bc\u2032\u00b4`\uff07"


@pytest.mark.parametrize("other", [f"An{mark}n" for mark in HIDDEN] + [f"{mark}Ann" for mark in HIDDEN])
def test_what_is_not_shown_makes_nobody_another_person(other):
    for names in (["Ann", other], [other, "Ann"], ["ANN", other]):
        with pytest.raises(ValueError, match="are they one person"):
            normalized_names("users", names)
    assert normalized_names("users", [other, "Bo", other]).tolist() == [other, "Bo", other]


@pytest.mark.parametrize(
    "pair", [(f"Jean{dash}Luc", "Jean-Luc") for dash in DASHES] + [(f"O{quote}Brien", "O'Brien") for quote in QUOTES]
)
def test_the_kind_of_a_dash_or_an_apostrophe_makes_nobody_another_person(pair):
    with pytest.raises(ValueError, match="are they one person.* write them alike; if not") as error:
        normalized_names("users", pair)
    assert str(error.value).isascii()  # so that a reader sees what differs


@pytest.mark.parametrize("name", ["\u200b", " \ufeff ", "\u3164", "\u2800", b"\xe2\x80\x8b"])
def test_a_name_that_nobody_sees_is_no_name(name):
    with pytest.raises(ValueError, match=r"users\[1\] is .* name every author"):
        normalized_names("users", ["Ann", name])


def test_numbers_and_bytes_of_one_person_are_one_name():
    assert normalized_names("users", [7, 7.0, "7", np.float32(7), b"7", 7.5]).tolist() == ["7"] * 5 + ["7.5"]
    assert normalized_names("users", np.array([3.0, 1e16, -0.0])).tolist() == ["3", "10000000000000000", "0"]
    assert normalized_names("users", [COMPOSED.encode(), bytearray(b"Ann"), COMPOSED]).tolist()[::2] == [COMPOSED] * 2
    with pytest.raises(ValueError, match=r"users\[1\] is b'Ren\\xe9', which is not UTF-8"):
        normalized_names("users", [b"Ann", b"Ren\xe9", b"Ren\xe8"])  # read loosely, these were one person


def documents(names):
    return text.from_texts([f"Note {i} of somebody." for i in range(len(names))], names)


def test_documents_hold_one_name_for_each_person():
    users = documents(TWO).user
    assert users is not None and set(users) == {COMPOSED, "Ann", "Bo"}
    parts = text.split(documents(TWO), {"train": 0.5, "test": 0.5}, seed=0, by="user").values()
    first, second = (set(part.user.tolist()) for part in parts)  # pyright: ignore[reportOptionalMemberAccess]
    assert not first & second


def test_an_audit_of_users_reads_one_record_for_each_person():
    values, member, names = audit.by_user({"loss": LOSSES}, MEMBER, TWO)
    assert names.tolist() == ["Ann", "Bo", COMPOSED] and member.tolist() == [False, False, True]
    np.testing.assert_array_equal(values["loss"], [LOSSES[1::4].mean(), LOSSES[3::4].mean(), LOSSES[::2].mean()])


def test_an_attribute_probe_never_learns_from_the_person_that_it_guesses():
    names = [*TWO, "Cy"]
    result = audit.attribute_inference(np.eye(13), [0, 1, 0, 1] * 3 + [0], names, folds=2)
    assert result.groups.tolist() == ["Ann", "Bo", "Cy", COMPOSED] and result.rows.tolist() == [3, 3, 1, 6]


@pytest.mark.parametrize(
    "door",
    [
        documents,
        lambda names: text.join(documents(names[:2]), documents(names[2:])._replace(id=np.arange(90, 100))),
        lambda names: text.split(
            documents(["A"] * 12)._replace(user=np.array(names, object)), {"train": 0.5, "test": 0.5}, 0, by="user"
        ),
        lambda names: privacy.limit_rows_per_user(names, 1),
        lambda names: audit.by_user({"loss": LOSSES}, MEMBER, names),
        lambda names: audit.from_signals({"loss": LOSSES}, MEMBER, users=names),
        lambda names: audit.attribute_inference(np.ones((12, 2)), [0, 1] * 6, names, folds=2),
    ],
)
def test_names_that_differ_by_case_alone_are_refused(door):
    with pytest.raises(ValueError, match="are they one person"):
        door(CASES)
