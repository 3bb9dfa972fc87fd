"""Saved signals that would reveal the target, or that are of other records than said, are refused."""

import numpy as np
import pytest

from gecko_jax import audit
from gecko_jax.types import Examples

M, N = 7, 200
RNG = np.random.default_rng(3)
MEMBER = RNG.random((M, N)) < 0.5
LOSS = RNG.gamma(2.0, size=(M, N)) * np.where(MEMBER, 0.8, 1.0)
UNSEEN = RNG.gamma(2.0, size=(M, 90))
LIRA = ["lira_example"]


def of_target(rows, **options):
    options = {"target_member": MEMBER[0], **options}
    return audit.from_signals({"loss": LOSS[rows]}, MEMBER[rows], LIRA, target={"loss": LOSS[0]}, **options)


def test_a_target_among_its_own_shadows_is_refused():
    """The oracle: a shadow's two means at each record, by hand, of which one is the target itself."""
    error = LOSS[0] - np.where(MEMBER[0], LOSS[:1].mean(0), LOSS[1:].mean(0))
    assert not error[MEMBER[0]].any()  # its own members lie exactly on the mean of the members
    assert 0.5 < of_target(slice(1, None)).rows["lira_example"]["auc"].value < 0.8
    for rows in (slice(None), [1, 2, 0]):
        with pytest.raises(ValueError, match=r"member\[\d\] is equal to target_member.*Take it out"):
            of_target(rows)


def test_masked_members_of_a_target_are_refused():
    with pytest.raises(ValueError, match="target_member"):
        of_target(slice(1, None), target_member=np.ma.array(MEMBER[0], mask=np.arange(N) < 3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_population_of_audited_records_is_refused(dtype):
    loss, unseen = LOSS.astype(dtype), UNSEEN.astype(dtype)
    for population in (loss, loss[:, ::-1][:, :50], np.concatenate([unseen, loss[:, :30]], 1)):
        with pytest.raises(ValueError, match="have the values of an audited record, the first population"):
            audit.from_signals({"loss": loss}, MEMBER, ["rmia"], population={"loss": population})
        with pytest.raises(ValueError, match="have the values of an audited record, the first population"):
            audit.from_signals({"loss": loss[0]}, MEMBER[0], ["loss"], population={"loss": population[0]})
    audit.from_signals({"loss": loss}, MEMBER, ["rmia"], population={"loss": unseen})


def test_coarse_values_that_other_records_share_are_accepted():
    coarse, unseen = np.round(LOSS, 1), np.round(UNSEEN, 1)
    assert np.isin(unseen[0], coarse[0]).mean() > 0.9  # by chance, and not because they are the same records
    audit.from_signals({"loss": coarse[0]}, MEMBER[0], ["loss"], population={"loss": unseen[0]})


def test_repeated_ids_of_records_are_refused():
    for ids in (np.zeros(N, int), np.append(np.arange(N - 1), 0)):
        with pytest.raises(ValueError, match=rf"records.id names \d+ of {N} records"):
            audit.from_signals({"loss": LOSS}, MEMBER, ["loss"], records=Examples(None, None, ids))
