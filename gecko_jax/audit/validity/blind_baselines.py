"""Blind baselines: can members be told from non-members without the model?

If they can, they do not come from one distribution, and every attack shows that difference as if it were a leak.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, extras, keys, metrics
from gecko_jax.audit.validity.containers import is_sparse, numbers_of
from gecko_jax.types import Array, Estimate

MAX_RECORDS = 4000  # that the classifier works on
MAX_FEATURES = 64  # principal components of larger records
FOLDS = 5
WARNING_CONFIDENCE = 0.999  # that an AUC is above 1/2; one audit in a thousand without a difference has it


class Baselines(NamedTuple):
    """What tells members without the model.

    Attributes:
      aucs: AUC of each baseline: "reference model ..." for each named one, "records", "reference loss".
      warnings: sentences about those that are clearly away from 1/2, the reference models' first.
      differ: whether one is: then members and non-members are of two distributions.
    """

    aucs: dict[str, Estimate]
    warnings: list[str]
    differ: bool = False


def baselines(
    x: Any,
    y: np.ndarray,
    member: np.ndarray,
    loss: np.ndarray | None = None,
    inside: np.ndarray | None = None,
    references: Mapping[str, np.ndarray] | None = None,
    groups: np.ndarray | None = None,
) -> Baselines:
    """Returns the AUCs, with DeLong's intervals, of classifiers that tell one target's members without the target.

    Args:
      x: records [n, ...], an array, a sparse matrix or a dict of them; or None for no classifier of them.
      y: [n] class numbers.
      member: [n] bool, the target's.
      loss: [s, n] cross-entropies of s shadow models, or None.
      inside: [s, n] bool, who was in which shadow.
      references: name of a reference model -> [n] what it says of the records, larger for members.
      groups: [n] names of what records belong to, or None; see `of_records`.

    Returns:
      Baselines; without the classifier, and with a warning, if x holds text or objects or values that are not finite,
      or if there are fewer than five members or non-members.
    """
    aucs, sentences = by_reference(member, references or {})
    differ = bool(sentences)
    ways: dict[str, Any] = {}  # what tells members -> (scores, member), or something false
    lacking = x is not None and _lacking(x, member)
    try:
        ways["records"] = x is not None and not lacking and of_records(x, y, member, groups)
    except Exception as error:  # whatever it is: nobody asked for this classifier, and it ends no audit
        lacking = f"{type(error).__name__}: {error}"
    if lacking:
        sentences.append(f"No classifier of the records was tried because {lacking}: they may be of two distributions.")
    if loss is not None and inside is not None and len(loss):
        ways["reference loss"] = of_references(loss, inside, member)
    for name, way in ways.items():
        if not way:
            continue
        scores, truth = way
        aucs[name] = auc = metrics.auc_interval(scores, truth)
        if (metrics.auc_interval(scores, truth, WARNING_CONFIDENCE).low or 0.0) > 0.5:
            differ = True
            sentences.append(
                f"Members and non-members can be told apart without the model, by the {name}: AUC {auc.value:.3f} "
                f"[{auc.low:.3f}, {auc.high:.3f}]; they are not of one distribution, which every figure shows, too."
            )
    return Baselines(aucs, sentences, differ)


def by_reference(member: np.ndarray, references: Mapping[str, np.ndarray]) -> tuple[dict[str, Estimate], list[str]]:
    """Returns each reference model's AUC without the target, and sentences about those clearly away from 1/2.

    A reference may point either way. Records that are harder for it than non-members are tell members apart as well,
    and the ratio of target and reference then shows that difference as if the target had learnt it.

    Args:
      member: [n] bool, the target's.
      references: name -> [n] scores, larger for members.
    """
    aucs, sentences = {}, []
    for name, scores in references.items():
        aucs[f"reference model {name}"] = auc = metrics.auc_interval(scores, member)
        wide = metrics.auc_interval(scores, member, WARNING_CONFIDENCE)
        if (wide.low or 0.0) > 0.5 or (1.0 if wide.high is None else wide.high) < 0.5:
            other = f", that is {1 - auc.value:.3f} the other way" if auc.value < 0.5 else ""
            sentences.append(
                f"The reference model {name!r} alone tells members from non-members, without the target: AUC "
                f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]{other}. They are not of one distribution, which "
                "every figure shows, too, above all that of the reference ratio."
            )
    return aucs, sentences


def _lacking(x: Any, member: np.ndarray) -> str:
    """Returns why there cannot be a classifier of the records, in words, or ""."""
    fewest = int(min(member.sum(), (~member).sum()))
    try:
        numbers = numbers_of(x, _some(member) if is_sparse(x) and fewest >= FOLDS else None)
    except ValueError as error:
        return str(error)
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        return f"x has {bad} values that are not finite"
    return f"there are {fewest} of one kind, and it needs {FOLDS}" if fewest < FOLDS else ""


def of_records(x: Any, y: Array, member: Array, groups: Array | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scores, member), [k] each, of a classifier that sees only records and labels.

    It consists of gradient-boosted trees on the standardized features (their principal components if there are many)
    and the label. Each record is scored by a classifier that was not fitted on it, nor on another of its group (the
    document that it is a row of): a group that is known by its other records says nothing of the two distributions.
    Of many records, a sample is used.
    """
    y, member = np.asarray(y), np.asarray(member, bool)
    chosen = _some(member)
    features = checks.finite("x", numbers_of(x, chosen))
    groups = None if groups is None else np.asarray(groups)[chosen]
    return _scores(features, y[chosen], member[chosen], groups), member[chosen]


def of_references(loss: np.ndarray, inside: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scores, member), [n] each: the mean loss on a record of the other models that were not trained on it.

    The sign is the one whose AUC is above 1/2, because members that are harder for every model differ, too.
    """
    chosen = np.where(inside.all(0), True, ~inside)
    finite = np.minimum(loss, np.finfo(np.float64).max / (2 * len(loss)))
    mean = np.where(chosen, finite, 0.0).sum(0) / chosen.sum(0)
    return (mean if metrics.roc_auc(mean, member) >= 0.5 else -mean), member


def _some(member: np.ndarray) -> np.ndarray:
    """Returns rows of at most MAX_RECORDS records, members and others in the proportion that they have."""
    for name, count in (("members", member.sum()), ("non-members", (~member).sum())):
        checks.at_least(f"number of {name}", int(count), FOLDS)
    share = min(1.0, MAX_RECORDS / len(member))
    draws = keys.generator(0, "blind baseline")
    kinds = [np.flatnonzero(member), np.flatnonzero(~member)]
    return np.concatenate([draws.permutation(kind)[: max(FOLDS, round(share * len(kind)))] for kind in kinds])


def _folds(member: np.ndarray, groups: np.ndarray | None) -> Any:
    """Returns pairs of rows, fitted on and scored, that share no group."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        return StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(member, member)
    fewest = min(len(np.unique(groups[rows])) for rows in (member, ~member))
    if fewest < FOLDS:
        raise ValueError(f"members or non-members have {fewest} groups, and it needs {FOLDS}")
    return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(member, member, groups)


def _scores(features: np.ndarray, y: np.ndarray, member: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Returns the chance of being a member [n], of each record by trees that were fitted on the four other folds."""
    extras.require("sklearn", "the baseline that guesses members without the model")
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    steps: list[Any] = [StandardScaler()]
    if features.shape[1] > MAX_FEATURES:
        fitted = len(member) * (FOLDS - 1) // FOLDS - 2  # four folds of five hold at least this many records
        steps.append(PCA(min(MAX_FEATURES, fitted), random_state=0))
    # The label stands beside the components, not among them, where it would be lost.
    scores = np.empty(len(member))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that never changes
        for train, test in _folds(member, groups):
            pipeline = make_pipeline(*steps).fit(features[train])
            seen, unseen = (np.column_stack([pipeline.transform(features[rows]), y[rows]]) for rows in (train, test))
            trees = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, random_state=0)
            scores[test] = trees.fit(seen, member[train]).predict_proba(unseen)[:, 1]
    return scores
