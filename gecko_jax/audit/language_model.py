"""An audit of a language model, or of several, by everything that is read off them and off their references."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gecko_jax import checks, probes
from gecko_jax.audit.from_signals import from_signals
from gecko_jax.audit.reading.users import check_rows_of_users, users_of
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.validity.bag_of_tokens import bag_of_tokens
from gecko_jax.datasets.text import Rows, Tokenizer
from gecko_jax.metrics.roc import as_member
from gecko_jax.privacy import Epsilon
from gecko_jax.trees import row_count
from gecko_jax.types import Array, Examples, Model, Variables
from gecko_jax.user_names import with_one_spelling

RATE = 0.15  # share of the tokens that one mask hides
COINS = 20  # that agree by chance once in a million


def audit_language_model(
    model: Model,
    variables: Variables,
    rows: Rows,
    member: Array,
    attacks: Iterable | str | None = None,
    *,
    references: Mapping[str, tuple[Model, Variables]] | None = None,
    tokenizer: Tokenizer | None = None,
    neighbors: int = 0,
    mask: int | None = None,
    masks: int = 4,
    by_user: bool = False,
    slices: Mapping[str, Array] | None = None,
    claimed_epsilon: Epsilon | None = None,
    coins: bool | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Report:
    """Audits a language model from rows of text, or each of m models with the others as its shadows.

    First comes what needs no target: a classifier of the tokens, and each reference by itself. Both tell members apart
    if members and non-members differ, and then every attack does so, too.

    Args:
      model: token rows [b, t] -> logits [b, t, vocabulary], causal; or masked, if `mask` is given.
      variables: of one model; or of m models with a leading axis, as `training.fit_ensemble` returns them, if member is
        [m, n].
      rows: n rows of `datasets.text`.
      member: bool [n], or [m, n] drawn by independent coins: who was in which training set.
      attacks: the attacks to run; None for every listed one that can read these signals. See `audit`.
      references: name -> (model, variables) of models that were trained on none of the rows, such as the pre-trained
        copy: for `reference_ratio`.
      tokenizer: of the rows, for `lowercase_ratio` and `zlib_ratio`.
      neighbors: neighbors of each row, which the first reference proposes, for `neighborhood`; 0 omits it.
      mask: the mask token of masked models. None: the models are causal.
      masks: how often a masked model reads each row, each time with 15 % of its tokens hidden, the same for every
        model.
      by_user: whether users are audited instead of rows: see `users` of `from_signals`.
      slices, claimed_epsilon, coins: see `from_signals`.
      seed: of the masks and of the neighbors.
      batch_size: rows in one call of a model.

    Returns:
      The Report of `from_signals`.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: arguments that do not fit each other, a model that does not read these rows, a claim for fewer rows
        than became members together (those of a document or user); see `from_signals`.

    >>> import jax
    >>> from gecko_jax import models
    >>> from gecko_jax.datasets import text
    >>> notes, tokenizer = text.notes(40, seed=0), text.bytes_tokenizer()
    >>> rows = text.rows(notes, tokenizer, 16).take(np.arange(60))
    >>> model = models.create("transformer", tokenizer.vocabulary, layers=1, width=8, heads=1, max_length=16)
    >>> tuned, start = (jax.jit(model.init)(jax.random.key(i), rows.tokens[:, :-1]) for i in (0, 1))
    >>> report = audit_language_model(model, tuned, rows, rows.id % 2 == 0, references={"pretrained": (model, start)})
    >>> sorted(report.rows), sorted(report.baselines)[0]
    (['loss', 'min_k', 'reference_ratio', 'yeom'], 'records')
    """
    member, models = as_member(member), dict(references or {})
    several = member.ndim == 2
    checks.shape("member", member, (*[None] * several, len(rows.tokens)))
    if several and (count := row_count("variables", variables)) != len(member):
        raise ValueError(f"member has {len(member)} rows and variables are of {count} models; expected as many.")
    if neighbors and not models:
        raise ValueError(f"neighbors={neighbors} are proposed by a reference: pass references=, or neighbors=0.")
    if by_user and rows.user is None:
        raise ValueError("by_user=True needs rows.user, the author of each row: give documents their users.")
    if rows.user is not None:  # they may have been replaced since the rows were cut
        checks.shape("rows.user", rows.user, (len(rows.tokens),))
        rows = rows._replace(user=with_one_spelling("rows.user", rows.user))

    def examples(tokens: np.ndarray) -> list[Examples]:
        each = rows._replace(tokens=tokens)
        if mask is None:
            return [each.causal()]
        checks.integer("masks", masks, 1)
        return [each.masked(seed * 1000 + i, RATE, mask) for i in range(masks)]

    settings: dict[str, Any] = {"batch_size": batch_size}
    if tokenizer is not None:
        settings["lowercase"] = examples(probes.lowercased(rows.tokens, tokenizer))
        settings["zlib_bytes"] = probes.zlib_bytes(rows.tokens, tokenizer)
    if neighbors:
        drawn = probes.neighbors(
            *next(iter(models.values())), rows.tokens, rows.id, count=neighbors, mask=mask, seed=seed,
            batch_size=batch_size,
        )  # fmt: skip
        settings["neighbors"] = [examples(tokens) for tokens in drawn]
    texts = examples(rows.tokens)
    values = probes.language_signals(model, variables, texts, ensemble=several, **settings)
    beside = {name: probes.language_signals(*one, texts, batch_size=batch_size) for name, one in models.items()}
    losses = {name: {"sequence_loss": signals["sequence_loss"]} for name, signals in beside.items()}
    bag, ids, notes, warnings = bag_of_tokens(rows.tokens), rows.id, [], _twins(rows)
    together = None
    if by_user:
        groups = users_of(rows.user, member.shape[-1])  # pyright: ignore[reportArgumentType]
        check_rows_of_users(groups, claimed_epsilon, {})
        values = {name: groups.mean(array) for name, array in values.items()}
        losses = {name: {key: groups.mean(array) for key, array in one.items()} for name, one in losses.items()}
        slices = slices and {name: groups.mask(f"slices[{name!r}]", np.asarray(one)) for name, one in slices.items()}
        member, bag, ids, notes = groups.mask("member", member), groups.sums(bag), None, [groups.note()]
    else:
        _check_coins(rows, member, claimed_epsilon)
        warnings += _mixed(rows.document, member)
        together, clustered = _together(rows, member)
        notes += clustered
    report = from_signals(
        values,
        member,
        attacks,
        references=losses or None,
        groups=together,
        records=Examples(bag, None, ids),
        slices=slices,
        claimed_epsilon=claimed_epsilon,
        coins=coins,
    )
    return dataclasses.replace(report, warnings=(*report.warnings, *warnings), notes=(*notes, *report.notes))


def _twins(rows: Rows) -> list[str]:
    """Returns a warning if rows hold the same tokens: a non-member whose twin is a member was trained on."""
    _, counts = np.unique(rows.tokens, axis=0, return_counts=True)
    twins = int(counts[counts > 1].sum())
    return [
        f"{twins} of {len(rows.tokens)} rows have a twin with the same tokens, and a non-member whose twin is a member "
        "was trained on. Keep one of each: datasets.text.select_rows(rows, tokenizer)."
    ] * bool(twins)


def _mixed(documents: np.ndarray, member: np.ndarray) -> list[str]:
    """Returns a warning if documents have rows of both kinds, which say the same things."""
    mixed = _count_mixed(documents, member)
    return [
        f"{mixed} documents have rows that are members and rows that are not. These resemble each other, which hides "
        "leakage: draw members by document (datasets.text.split, or coins of rows.document)."
    ] * bool(mixed)


def _check_coins(rows: Rows, member: np.ndarray, claim: Epsilon | None) -> None:
    """Raises ValueError if rows became members together, and a claim protects fewer of them."""
    for name, column in (("document", rows.document), ("user", rows.user)):
        if not isinstance(claim, Epsilon) or column is None:
            continue
        index, counts = np.unique(column.astype(str), return_inverse=True, return_counts=True)[1:]
        shares = [np.bincount(index.reshape(-1), weights=row) / counts for row in np.atleast_2d(member)]
        bound = (len(index) - len(counts)) * len(shares)  # coins that agree with another row's
        if np.isin(shares, (0, 1)).all() and bound >= COINS and claim.records < counts.max():
            raise ValueError(
                f"members were drawn by {name}, with up to {counts.max()} rows, and claimed_epsilon protects "
                f"{claim.records} together: it says nothing of them. Draw members by row, or audit {name}s by "
                "rows._replace(user=...) and by_user=True against privacy.user_epsilon(claim, users)."
            )


def _together(rows: Rows, member: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """Returns the users or documents by which members were drawn, and a note: rows are then not independent."""
    for name, column in (("user", rows.user), ("document", rows.document)):
        if column is not None and len(np.unique(column)) < len(column) and not _count_mixed(column, member):
            how = "by_user=True" if name == "user" else "by_user=True with rows._replace(user=rows.document)"
            return column, [
                f"All rows of each {name} are members, or none is. So intervals over rows are too narrow: {how} audits "
                f"{name}s."
            ]
    return None, []


def _count_mixed(groups: np.ndarray, member: np.ndarray) -> int:
    """Returns how many groups have rows of both kinds under some model."""
    index = np.unique(groups, return_inverse=True)[1].reshape(-1)
    inside = np.stack([np.bincount(index, weights=row) for row in np.atleast_2d(member)])
    return int(((inside > 0) & (inside < np.bincount(index)[None])).any(0).sum())
