"""Documents: texts with the user (author), the id and the time of each, and the sensitive passages if they are known.

Everything that decides who is a member of what (splits, coins, masks) is keyed by documents, because two rows of one
document say much about each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids
from gecko_jax.user_names import normalized_names


class Span(NamedTuple):
    """A sensitive passage, text[start:end].

    Attributes:
      start, end: its first character, and the one behind its last.
      kind: what it is, such as "name".
    """

    start: int
    end: int
    kind: str


class Documents(NamedTuple):
    """Texts of n documents; `from_texts` checks them.

    Attributes:
      text: the documents.
      user: names of their authors, text [n]; None if unknown.
      id: int64 [n], unique.
      time: float64 or datetime64[s] [n], NaN or NaT if unknown; None without times.
      secrets: the sensitive passages of each document; None if unknown.
      traits: properties of each document's author, {name: text [n]}; None if unknown.

    `len(documents.text)` is their number; `len(documents)` is that of the fields, as of any NamedTuple.

    >>> first = from_texts(["One.", "Two.", "Three."]).take([2, 0])
    >>> first.text, first.id.tolist()
    (('Three.', 'One.'), [2, 0])
    """

    text: tuple[str, ...]
    user: np.ndarray | None
    id: np.ndarray
    time: np.ndarray | None = None
    secrets: tuple[tuple[Span, ...], ...] | None = None
    traits: Mapping[str, np.ndarray] | None = None

    def take(self, index: Any) -> Documents:
        """Returns the documents at some places, in their order.

        Args:
          index: integers, or bool [n].
        """
        index = np.asarray(index)
        places = np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64).reshape(-1)
        if index.dtype == np.bool_:
            checks.shape("index", index, (len(self.text),))
        return Documents(
            tuple(self.text[i] for i in places),
            None if self.user is None else self.user[places],
            self.id[places],
            None if self.time is None else self.time[places],
            None if self.secrets is None else tuple(self.secrets[i] for i in places),
            None if self.traits is None else {name: values[places] for name, values in self.traits.items()},
        )


def check_users(documents: Documents) -> None:
    """Raises ValueError unless each document has its author, or none has one: a column may have been replaced.

    Args:
      documents: any.
    """
    if documents.user is not None:
        checks.shape("documents.user", documents.user, (len(documents.text),))


def from_texts(
    texts: Iterable[str],
    user: Sequence[str] | np.ndarray | None = None,
    ids: Sequence[int] | np.ndarray | None = None,
    time: Sequence[Any] | np.ndarray | None = None,
) -> Documents:
    """Checks texts and returns them as `Documents`.

    Args:
      texts: one str a document, none of them empty.
      user: the author of each; None if unknown.
      ids: integers, unique; None: 0..n-1.
      time: of each, as numbers or datetime64; None without times.

    Raises:
      ValueError: no documents, an empty one, one that is not a str or that UTF-8 cannot write, a user without a name
        or in two spellings, or another number of users, ids or times.

    >>> from_texts(["A note.", "Another."], user=["ann", "bo"]).user.tolist()
    ['ann', 'bo']
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("texts is one text; expected a list of documents. Pass [text] if it is a single one.")
    texts = tuple(checks.not_empty("texts", tuple(texts)))
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts[{i}] is a {type(text).__name__}; expected a str. Decode bytes: text.decode().")
        if not text.strip():
            raise ValueError(f"texts[{i}] is empty; leave the document out, with its user, id and time.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"texts[{i}] holds {text[error.start]!r} at {error.start}, which UTF-8 cannot write: the file was read "
                "in another encoding than it was written in, or with errors='surrogateescape'."
            ) from None
    count = len(texts)
    users = None if user is None else normalized_names("user", list(user)).astype(object)
    ids = np.arange(count, dtype=np.int64) if ids is None else check_ids(np.asarray(ids))
    times = None if time is None else _times(time)
    for name, values in (("user", users), ("ids", ids), ("time", times)):
        if values is not None and len(values) != count:
            raise ValueError(f"{name} has {len(values)} entries for {count} documents; give one for each.")
    return Documents(texts, users, ids, times)


def join(*parts: Documents) -> Documents:
    """Joins sets of documents, in order; a field that one of them lacks is dropped.

    Args:
      *parts: Documents with different ids.

    Raises:
      ValueError: two documents of one id, or one user in two spellings.

    >>> join(from_texts(["One."]), from_texts(["Two."], ids=[7])).id.tolist()
    [0, 7]
    """
    ids = np.concatenate([part.id for part in parts])
    if len(np.unique(ids)) < len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise ValueError(
            f"{int((counts > 1).sum())} ids are in several parts, the first {values[counts > 1][0]}; give each "
            "document its own: part._replace(id=part.id + offset)."
        )
    secrets = None if any(part.secrets is None for part in parts) else sum((part.secrets or () for part in parts), ())
    traits = [part.traits for part in parts if part.traits is not None]
    names = [] if len(traits) < len(parts) else [n for n in traits[0] if all(n in each for each in traits)]
    return Documents(
        sum((part.text for part in parts), ()),
        _one_spelling(_joined([part.user for part in parts])),
        ids,
        _joined([part.time for part in parts]),
        secrets,
        {name: np.concatenate([each[name] for each in traits]) for name in names} or None,
    )


def _joined(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if len(present) == len(columns) else None


def _times(time: Any) -> np.ndarray:
    times = np.asarray(time)
    if times.dtype.kind == "M":
        return times.astype("datetime64[s]")
    if times.dtype.kind not in "iuf":
        raise ValueError(f"time has dtype {times.dtype}; expected numbers, or dates: np.array(dates, 'datetime64[s]').")
    return times.astype(np.float64)


def _one_spelling(users: np.ndarray | None) -> np.ndarray | None:
    """Returns the authors of joined parts, each of which may spell a name in its own way."""
    return None if users is None else normalized_names("user", users).astype(object)
