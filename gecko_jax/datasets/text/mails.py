"""Mails -> `Documents`: mbox files, and the text, author and date of one message.

Mails hold the names of people who never agreed to be in a study. Authors are therefore numbered unless asked for, and
nothing here prints a mail.
"""

from __future__ import annotations

import datetime
import email.utils
import mailbox
import os
from collections.abc import Iterable
from email.message import Message
from pathlib import Path

import numpy as np

from gecko_jax.datasets.text.cleaning import plain_text
from gecko_jax.datasets.text.documents import Documents, from_texts


def from_mbox(path: str | os.PathLike[str], pseudonyms: bool = True) -> Documents:
    r"""Reads the mails of an mbox file.

    A mail's text is its plain part, else the text of its HTML; attachments are left out. Bytes that are not of the
    encoding that a mail declares are read as latin-1, in which every byte is a character.

    Args:
      path: the file.
      pseudonyms: whether authors are numbered ("author 0") instead of named by their addresses.

    Returns:
      Documents with users and times (UTC, NaT if unknown). Mails without a text are left out.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an empty file, or one without a mail that has a text.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.mbox"
    >>> _ = path.write_text("From ann@x.org Thu Aug 22 12:36:23 2002\nFrom: Ann <ann@x.org>\n\nHello.\n")
    >>> mails = from_mbox(path)
    >>> mails.text, mails.user.tolist()
    (('Hello.\n',), ['author 0'])
    """
    path = Path(path)
    with path.open("rb") as file:
        begin = file.read(5)
    if not begin.strip():
        raise ValueError(f'{path} is empty; expected an mbox file, in which a mail begins with a line "From ".')
    if begin != b"From ":
        raise ValueError(f'{path} begins with {begin!r}; expected an mbox file, which begins with "From ".')
    box = mailbox.mbox(str(path), create=False)
    try:
        return from_messages(str(path), box, pseudonyms)
    finally:
        box.close()


def from_messages(name: str, messages: Iterable[Message], pseudonyms: bool = True) -> Documents:
    r"""Returns the mails that have a text as `Documents`, numbered by their place.

    Args:
      name: of the source, for messages.
      messages: parsed mails.
      pseudonyms: see `from_mbox`.

    Raises:
      ValueError: no mail has a text.

    >>> import email
    >>> from_messages("here", [email.message_from_string("From: bo@x.org\n\nYes.")], pseudonyms=False).user.tolist()
    ['bo@x.org']
    """
    texts, authors, times, places = [], [], [], []
    for place, message in enumerate(messages):
        text = _text(message)
        if text.strip():
            texts.append(text)
            authors.append(email.utils.parseaddr(str(message.get("From", "")))[1].lower() or "unknown")
            times.append(_time(message))
            places.append(place)
    if not texts:
        raise ValueError(f"{name} holds no mail with a text; expected mails with a plain or an HTML part.")
    if pseudonyms:
        numbers = {author: i for i, author in enumerate(dict.fromkeys(authors))}
        authors = [f"author {numbers[author]}" for author in authors]
    return from_texts(texts, authors, places, np.array(times, "datetime64[s]"))


def _text(message: Message) -> str:
    """Returns the plain part of a mail, else the text of its HTML, else nothing."""
    parts = [part for part in message.walk() if not part.is_multipart() and part.get_filename() is None]
    for kind in ("text/plain", "text/html"):
        for part in parts:
            if part.get_content_type() == kind:
                text = _decoded(part)
                return text if kind == "text/plain" else plain_text(text)
    return ""


def _decoded(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    for charset in (part.get_content_charset() or "utf-8", "utf-8"):
        try:
            return content.decode(charset)
        except (LookupError, UnicodeDecodeError):
            continue
    return content.decode("latin-1")


def _time(message: Message) -> np.datetime64:
    """Returns a mail's date in UTC; NaT if it has none that can be read."""
    try:
        date = email.utils.parsedate_to_datetime(str(message["Date"]))
        date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)  # "-0000" says no zone
        return np.datetime64(int(date.timestamp()), "s")
    except (TypeError, ValueError, OverflowError):
        return np.datetime64("NaT", "s")
