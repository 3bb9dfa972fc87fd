"""Attack networks: a classifier of members, trained on the shadows' outputs, where who was a member is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gecko_jax import keys
from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Signals

ROWS = 20_000  # of all shadows' records that a network is trained on, members and others alike in number
HIDDEN = 64


def salem() -> Attack:
    """A network of 64 hidden units on the three largest posteriors in order, without the label.

    Score: its log odds of a member.

    Source: Salem et al., "ML-Leaks" (2019), adversary 1 (with any number of shadows).
    """
    return Attack("salem", "top_posteriors", lambda signals: _log_odds(signals, keys_of=None), 1, slow=True)


def shokri() -> Attack:
    """A network for each class on the posteriors; score: its log odds of a member.

    A class whose shadows show only members, or only others, takes the network of all classes.

    Source: Shokri et al., "Membership Inference Attacks Against Machine Learning Models" (2017), sec. V.
    """
    return Attack("shokri", "labelled_posteriors", lambda signals: _log_odds(signals, keys_of=_label), 1, slow=True)


def _label(features: np.ndarray) -> np.ndarray:
    """The label [...] of features [..., 2c], whose second half is its one-hot row."""
    return features[..., features.shape[-1] // 2 :].argmax(-1)


def _log_odds(signals: Signals, keys_of: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
    seen = signals.values.reshape(-1, signals.values.shape[-1])
    member = signals.member.reshape(-1)
    scores = _trained(seen, member)(signals.target)
    if keys_of is None:
        return scores
    of_seen, of_target = keys_of(seen), keys_of(signals.target)
    for label in np.unique(of_target):
        rows = of_seen == label
        if member[rows].any() and not member[rows].all():
            chosen = of_target == label
            scores[chosen] = _trained(seen[rows], member[rows])(signals.target[chosen])
    return scores


def _trained(features: np.ndarray, member: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """features [k, d] -> log odds [k] of a network trained on rows and their truth; the same for rows in any order."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    rows = training_rows(features, member)
    scale = StandardScaler().fit(features[rows])
    network = MLPClassifier((HIDDEN,), solver="lbfgs", alpha=1e-2, max_iter=100, random_state=0)
    network.max_fun = 10**6
    _fit_quietly(network, scale.transform(features[rows]), member[rows])

    def log_odds(x: np.ndarray) -> np.ndarray:
        chances = network.predict_proba(scale.transform(x))
        with np.errstate(divide="ignore"):
            return np.log(chances[:, 1]) - np.log(chances[:, 0])

    return log_odds


def training_rows(features: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Rows of features [k, d] to train on, members first, then as many others; the same set for rows in any order.

    Raises:
      ValueError: all are members, or none is.
    """
    if not member.any() or member.all():
        raise ValueError("the shadows' records are all members or all not; an attack network has nothing to learn.")
    rows = np.lexsort((member, *features.T))
    draws = keys.generator(0, "attack network")
    kinds = [rows[member[rows]], rows[~member[rows]]]
    fewest = min(ROWS // 2, *map(len, kinds))
    return np.concatenate([draws.permutation(kind)[:fewest] for kind in kinds])


def _fit_quietly(network, x: np.ndarray, member: np.ndarray) -> None:
    """A fit that stops at its last iteration is good enough for an attack, and no warning of the user's."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # Its products are small: threads that wait for each other take many times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(x, member)
