"""Checks of a split before a model is trained on it: what would make an audit of it meaningless is said first."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from gecko_jax.datasets.text.cleaning import shared_lines
from gecko_jax.datasets.text.documents import Documents

_SIGMAS = 4  # a difference that chance makes once in 16,000 splits
_MIN_DIFFERENCE = 0.05  # of an AUC from 1/2


def check_split(members: Documents, nonmembers: Documents) -> list[str]:
    """Looks for what tells members from non-members without any model.

    Args:
      members, nonmembers: the documents that a model is trained on, and those that it never sees.

    Returns:
      Warnings: another time or another length of members, or lines that both have; [] without any.

    Raises:
      ValueError: documents of the same id in both.

    >>> from gecko_jax.datasets import text
    >>> early = text.from_texts(["a few words"] * 30, ids=range(30), time=range(30))
    >>> late = early._replace(id=early.id + 30, time=early.time + 30)
    >>> for warning in check_split(early, late):
    ...     print(warning.split(":")[0])
    members and non-members are of different times
    members and non-members share 0 long lines and 1 texts
    """
    if len(both := np.intersect1d(members.id, nonmembers.id)):
        raise ValueError(f"{len(both)} documents are members and non-members, the first {both[0]}; split them by id.")
    warnings = []
    if members.time is not None and nonmembers.time is not None:
        auc, significant = _separation(_numbers(members.time), _numbers(nonmembers.time))
        if significant:
            warnings.append(
                f"members and non-members are of different times: the time alone tells them apart, AUC {auc:.3f}. "
                "What an attack finds may be what people wrote about then. Split documents of one time by text.split."
            )
    lengths = (np.array([len(each) for each in part.text], float) for part in (members, nonmembers))
    auc, significant = _separation(*lengths)
    if significant:
        warnings.append(
            f"members and non-members are of different lengths: the length alone tells them apart, AUC {auc:.3f}. "
            "Split documents of one source by text.split."
        )
    lines, texts = shared_lines(members, nonmembers), len(set(members.text) & set(nonmembers.text))
    if lines or texts:
        warnings.append(
            f"members and non-members share {lines} long lines and {texts} texts: a non-member is then partly trained "
            "on. Call text.deduplicate on all documents before the split, unless they are phrases of a form."
        )
    return warnings


def check_public(public: Documents, private: Documents | None = None, secrets: Iterable[str] = ()) -> list[str]:
    """Checks that the public text, from which a tokenizer or a base learns, contains no private text.

    Args:
      public: the documents to learn from without privacy.
      private: the documents that are protected; None: only `secrets` are looked for.
      secrets: texts that must not be public, such as canaries.

    Returns:
      A warning if both sets share long lines; [] otherwise.

    Raises:
      ValueError: a secret in the public text; a private document that is also a public one.

    >>> from gecko_jax.datasets import text
    >>> check_public(text.from_texts(["my number is 281 4455"]), secrets=["281 4455"])
    Traceback (most recent call last):
    ValueError: public document 0 holds 1 of 1 secrets, the first at character 13: a model has it from there, whatever \
it is trained on later. Leave the document out of the public text, or draw other canaries.
    """
    named = list(dict.fromkeys(each for each in secrets if each))
    for name, each in zip(public.id, public.text, strict=True):
        places = [place for secret in named if (place := each.find(secret)) >= 0]
        if places:
            raise ValueError(
                f"public document {name} holds {len(places)} of {len(named)} secrets, the first at character "
                f"{places[0]}: a model has it from there, whatever it is trained on later. Leave the document out of "
                "the public text, or draw other canaries."
            )
    if private is None:
        return []
    if same := set(public.text) & set(private.text):
        raise ValueError(
            f"{len(same)} private documents are public as well: they cannot be protected. Leave them out of one of the "
            "two."
        )
    lines = shared_lines(public, private)
    if not lines:
        return []
    return [
        f"public and private documents share {lines} long lines, which were never private. Call "
        "text.deduplicate(private, against=public) to leave them out, unless they are phrases of a form."
    ]


def _separation(first: np.ndarray, second: np.ndarray) -> tuple[float, bool]:
    """Returns the AUC of a value alone, and whether it differs from 1/2 by more than chance and by .05."""
    first, second = (values[np.isfinite(values)] for values in (first, second))
    if not (len(first) and len(second)):
        return 0.5, False
    below = np.searchsorted(np.sort(second), first, "left") + np.searchsorted(np.sort(second), first, "right")
    auc = float(below.mean() / (2 * len(second)))
    sigma = math.sqrt((len(first) + len(second) + 1) / (12 * len(first) * len(second)))  # of Mann-Whitney's U
    return auc, abs(auc - 0.5) > max(_SIGMAS * sigma, _MIN_DIFFERENCE)


def _numbers(time: np.ndarray) -> np.ndarray:
    """Returns times as numbers, NaN where a date is unknown."""
    if time.dtype.kind != "M":
        return time.astype(np.float64)
    return np.where(np.isnat(time), np.nan, time.astype(np.int64).astype(np.float64))
