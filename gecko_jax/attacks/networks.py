"""Attack networks: a classifier of members, trained on the shadows' outputs, where who was a member is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gecko_jax import extras, keys, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Signals

MAX_ROWS = 20_000  # of all shadows' records that a network is trained on, as many members as others
HIDDEN_UNITS = 64


def salem() -> Attack:
    """Scores the log odds of a member by a network on the three largest posteriors in order, without the label.

    The network has 64 hidden units.

    Source: Salem et al., "ML-Leaks" (2019), adversary 1 (with any number of shadows).

    >>> salem().needs
    ('shadows', 'time')
    """
    return Attack("salem", signals.top_posteriors, lambda read: _log_odds(read, labels_of=None), 1, slow=True)


def shokri() -> Attack:
    """Scores the log odds of a member by a network for each class, on the posteriors.

    A class whose shadows show only members, or only others, takes the network of all classes.

    Source: Shokri et al., "Membership Inference Attacks Against Machine Learning Models" (2017), sec. V.

    >>> shokri().signal.axes
    ('value',)
    """
    return Attack("shokri", signals.labeled_posteriors, lambda read: _log_odds(read, labels_of=_label), 1, slow=True)


def hybrid() -> Attack:
    """Scores the log odds of a member by a network on the three largest posteriors and on which exit answered.

    It is `salem` on the answers of a multi-exit model, with the exit's number beside, known or inferred:

      answered = models.answers(exits, threshold=0.9)         exits: logits [m, n, exits, classes] of m models
      read = signals.posteriors_and_exit(answered.logits, answered.exit, count=exits.shape[-2])
      audit.audit_models(answered.logits, y, member, ["hybrid"], probed={"exit_posteriors": read})

    Source: Li et al., "Auditing Membership Leakages of Multi-Exit Networks", CCS 2022 (arXiv 2208.11180), section 5.

    >>> hybrid().needs
    ('shadows', 'exits', 'time')
    """
    return Attack("hybrid", signals.exit_posteriors, lambda read: _log_odds(read, labels_of=None), 1, slow=True)


def server() -> Attack:
    """Scores the log odds of a member by a network on what the server of a split network sees of a record.

    These are the activation that the device sends, as deciles, and the largest posteriors and the loss that the server
    computes from it. The attack is ours; `salem` on the tail's logits is the same attack without the activation.

    >>> server().needs
    ('shadows', 'activations', 'time')
    """
    return Attack("server", signals.activation_profile, lambda read: _log_odds(read, labels_of=None), 1, slow=True)


def _label(features: np.ndarray) -> np.ndarray:
    """Returns the label [...] of features [..., 2c], whose second half is its one-hot row."""
    return features[..., features.shape[-1] // 2 :].argmax(-1)


def _log_odds(read: Signals, labels_of: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
    seen = read.values.reshape(-1, read.values.shape[-1])
    member = read.member.reshape(-1)
    scores = _trained(seen, member)(read.target)
    if labels_of is None:
        return scores
    of_seen, of_target = labels_of(seen), labels_of(read.target)
    for label in np.unique(of_target):
        rows = of_seen == label
        if member[rows].any() and not member[rows].all():
            chosen = of_target == label
            scores[chosen] = _trained(seen[rows], member[rows])(read.target[chosen])
    return scores


def _trained(features: np.ndarray, member: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns features [k, d] -> log odds [k] of a network trained on rows and their truth, in any order."""
    rows = training_rows(features, member)
    chances_of = fit_network(features[rows], member[rows])

    def log_odds(x: np.ndarray) -> np.ndarray:
        other, inside = np.log(np.maximum(chances_of(x), np.finfo(float).tiny)).T  # a sure network's scores tie, finite
        return inside - other

    return log_odds


def fit_network(features: np.ndarray, truth: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Trains a network of 64 hidden units on standardized features.

    Args:
      features: [k, d].
      truth: [k], the class of each row.

    Returns:
      Features [k', d] -> probabilities [k', classes] of the classes np.unique(truth).
    """
    extras.require("sklearn", "an attack network")
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scale: Any = StandardScaler().fit(features)
    network: Any = MLPClassifier((HIDDEN_UNITS,), solver="lbfgs", alpha=1e-2, max_iter=100, random_state=0)
    network.max_fun = 10**6
    _fit_quietly(network, scale.transform(features), truth)
    return lambda x: network.predict_proba(scale.transform(x))


def training_rows(features: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Returns rows of features [k, d] to train on, members first, then as many others; the same set for any order.

    Raises:
      ValueError: all are members, or none is.
    """
    if not member.any() or member.all():
        raise ValueError("the shadows' records are all members or all not; an attack network has nothing to learn.")
    rows = np.lexsort((member, *features.T))
    draws = keys.generator(0, "attack network")
    kinds = [rows[member[rows]], rows[~member[rows]]]
    fewest = min(MAX_ROWS // 2, *map(len, kinds))
    return np.concatenate([draws.permutation(kind)[:fewest] for kind in kinds])


def _fit_quietly(network, x: np.ndarray, member: np.ndarray) -> None:
    """Fits without a warning: a fit that stops at its last iteration is good enough for an attack."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # Its products are small: threads that wait for each other take many times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(x, member)
