"""An audit reads which exit answered, and what a split network sends, through the door for what a caller has read."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, signals

RNG = np.random.default_rng(0)
MEMBER = RNG.random((3, 60)) < 0.5
Y = RNG.integers(0, 3, 60)
LOGITS = RNG.normal(size=(3, 60, 3)) + 2 * MEMBER[..., None] * np.eye(3)[Y][None]
EXITS = RNG.integers(0, 2, (3, 60)) * ~MEMBER
PROBED = {
    "hybrid": {"exit_posteriors": signals.posteriors_and_exit(LOGITS, EXITS, 2)},
    "server": {"activation_profile": signals.profile_of_activation(LOGITS, LOGITS, Y)},
}


@pytest.mark.parametrize("name", sorted(PROBED))
def test_it_is_audited_as_any_other_signal(name):
    report = audit.audit_models(LOGITS, Y, MEMBER, attacks=[name], probed=PROBED[name])
    [values] = PROBED[name].values()
    scores = attacks.leave_one_out(attacks.ATTACKS[name](), values, MEMBER)
    by_hand = np.mean([metrics.roc_auc(one, row) for one, row in zip(scores, MEMBER, strict=True)])
    assert report.rows[name]["auc"].value == pytest.approx(by_hand)


@pytest.mark.parametrize(("name", "words"), [("hybrid", "posteriors_and_exit"), ("server", "profile_of_activation")])
def test_without_the_signal_the_message_says_where_it_comes_from(name, words):
    with pytest.raises(ValueError, match=words):
        audit.audit_models(LOGITS, Y, MEMBER, attacks=[name])


@pytest.mark.parametrize(
    ("audited", "words"),
    [
        (lambda exits: audit.audit_models(exits, Y, MEMBER, ["loss"]), r"models.answers\(outputs\['exits'\]"),
        (lambda exits: audit.audit_versions({"a": exits, "b": exits}, Y, MEMBER), "version 'a': outputs hold exits"),
        (lambda exits: audit.audit_models(LOGITS, Y, MEMBER, ["loss"], queries=[exits]), "outputs hold exits"),
        (lambda exits: audit.audit_models(LOGITS, Y, MEMBER, ["loss"], population=(exits, Y)), "outputs hold exits"),
        (lambda _: audit.audit_models(None, Y, MEMBER, ["loss"]), "outputs=None is not an array"),
    ],
)
def test_all_exits_together_are_not_what_a_network_releases(audited, words):
    with pytest.raises(ValueError, match=words):
        audited({"exits": np.stack([LOGITS, LOGITS], 2)})
