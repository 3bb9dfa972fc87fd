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
        lambda names: privacy.limit_rows_per_user(names, 1),
        lambda names: audit.by_user({"loss": LOSSES}, MEMBER, names),
        lambda names: audit.from_signals({"loss": LOSSES}, MEMBER, users=names),
        lambda names: audit.attribute_inference(np.ones((12, 2)), [0, 1] * 6, names, folds=2),
    ],
)
def test_names_that_differ_by_case_alone_are_refused(door):
    with pytest.raises(ValueError, match="are they one person"):
        door(CASES)
