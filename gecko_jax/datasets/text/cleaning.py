"""Cleaning: what is not its author's own words, and what two documents share, would tell members of a split apart.

Mailing lists quote each other, and programs repeat their furniture. A line that stands in a member and in a
non-member is not a secret of either, and one that stands in public text was never private.
"""

from __future__ import annotations

import html
import re
from collections import Counter

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.documents import Documents
from gecko_jax.datasets.text.rows import Rows
from gecko_jax.datasets.text.tokenization import Tokenizer

SHARED_LINE_CHARACTERS = 16  # a shorter line that two documents share is a phrase, not a quotation
_QUOTED = re.compile(r"\s*(\w{0,4}[>|\]]|--\])")
_ATTRIBUTION = re.compile(r"(?i).*\b(wrote|writes|said|mentioned)\W*:\W*")
_ATTRIBUTION_BEGINS = re.compile(r"(?i)\s*(on|at|in)\b.*\d.*")
_MAIL_HEADER = re.compile(
    r"(?i)\s*(from|to|cc|bcc|sent|subject|date|sender|reply-to|message-id|received|url|(x|list|in|content)-[\w-]+)\s*:.*"
)
_REST_IS_QUOTED = re.compile(r"(?i)\s*-{2,}\s*(original|forwarded) message.*|\s*begin forwarded message.*")
_SIGNATURE = re.compile(r"\s*--\s*")
_ADDRESS = re.compile(
    r"(?i)<?\b(?:https?|ftp|mailto|news):[^\s>]+>?|\bwww\.[^\s>]+|<?[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+>?"
)
_HIDDEN = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->")
_TAG = re.compile(r"(?is)</?(?:!doctype|[a-z][a-z0-9]*)(?:\s[^<>]*)?/?>")
_CHARACTER = re.compile(r"&#\d+;")
_PARAGRAPH = re.compile(r"(?is)<(?:br|p|div|tr|li|h[1-6])\b[^<>]*>")


def clean(documents: Documents, min_characters: int = 40) -> Documents:
    r"""Removes quoted lines, signatures, headers, web and mail addresses, HTML and superfluous blanks from documents.

    A quoted line begins with ">", "|" or "]", also behind initials ("ann> yes"), and the line above it that says who
    wrote it goes too. A line "--" begins a signature; "----- Original Message -----" begins a quotation. Both end the
    document. A header is a line such as "Subject: ...", as forwarded mails have them.

    Args:
      documents: with `secrets` None, because the places of secrets would move.
      min_characters: documents with fewer characters left are left out.

    Returns:
      Documents, fewer perhaps, with their ids.

    Raises:
      ValueError: no document is left, or documents with secrets.

    >>> from gecko_jax.datasets import text
    >>> mail = "I do not think so, and here is why: http://example.org/a\n> old words\nIt is a bug.\n-- \nBo"
    >>> clean(text.from_texts([mail]), min_characters=10).text
    ('I do not think so, and here is why:\nIt is a bug.',)
    """
    checks.integer("min_characters", min_characters, 1)
    return _changed(documents, [_without_furniture(each) for each in documents.text], min_characters)


def deduplicate(
    documents: Documents,
    against: Documents | None = None,
    line_characters: int = SHARED_LINE_CHARACTERS,
    min_characters: int = 40,
) -> Documents:
    r"""Removes EVERY occurrence of a line that two documents share, before they are split.

    Lines are compared without case and with single blanks. A line that one document repeats stays.
    Of documents that are equal after that, none stays.

    What stays of a document depends on the others, and no epsilon covers that: it is of documents as they are after
    this step. Where it matters, remove lines of public text alone, from each document by itself.

    Args:
      documents: all that are split afterwards, together; with `secrets` None.
      against: public documents, whose lines are removed as well; None: without them.
      line_characters: shorter lines stay.
      min_characters: documents with fewer characters left are left out.

    Returns:
      Documents, fewer perhaps, with their ids.

    Raises:
      ValueError: no document is left, or documents with secrets.

    >>> from gecko_jax.datasets import text
    >>> shared = text.from_texts(["My own words.\nA line that both have", "a line  that both have\nMine, too."])
    >>> deduplicate(shared, min_characters=5).text
    ('My own words.', 'Mine, too.')
    """
    checks.integer("line_characters", line_characters, 1)
    checks.integer("min_characters", min_characters, 1)
    counts = Counter(line for each in documents.text for line in _long_lines(each, line_characters))
    repeated = {line for line, count in counts.items() if count > 1}
    if against is not None:
        repeated |= {line for each in against.text for line in _long_lines(each, line_characters)} & counts.keys()

    def remaining(each: str) -> str:
        return _single_blanks("\n".join(line for line in each.split("\n") if _key(line) not in repeated))

    texts = [remaining(each) for each in documents.text]
    copies = Counter(map(_key, texts))  # documents of short lines alone
    return _changed(documents, [each if copies[_key(each)] == 1 else "" for each in texts], min_characters)


def select_rows(rows: Rows, tokenizer: Tokenizer, min_letters: float = 0.6, unique: bool = True) -> Rows:
    """Leaves out rows of list furniture, and rows that repeat an earlier one.

    Args:
      rows: of `text.rows`.
      tokenizer: that cut them.
      min_letters: share of a row's characters, blanks aside, that must be letters, 0..1: a banner of ##### has none.
      unique: whether a row whose tokens are those of an earlier row is left out. Canaries that repeat need False.

    Returns:
      Rows, in their order.

    Raises:
      ValueError: no row is left.

    >>> from gecko_jax.datasets import text
    >>> tokenizer = text.bytes_tokenizer()
    >>> rows = text.rows(text.from_texts(["words of mine", "######## 12 ##", "words of mine"]), tokenizer, 16)
    >>> select_rows(rows, tokenizer).document.tolist()
    [0]
    """
    checks.in_range("min_letters", min_letters, 0, 1)
    chosen, seen = np.zeros(len(rows.id), bool), set()
    for i, tokens in enumerate(rows.tokens):
        letters = [character.isalpha() for character in tokenizer.decode(tokens) if not character.isspace()]
        key = tokens.tobytes()
        chosen[i] = bool(letters) and np.mean(letters) >= min_letters and not (unique and key in seen)
        seen.add(key)
    if not chosen.any():
        raise ValueError(
            f"min_letters={min_letters:g} leaves none of {len(rows.id)} rows; expected text that is mostly words. "
            "Lower min_letters for numbers or code."
        )
    return rows.take(chosen)


def shared_lines(first: Documents, second: Documents, line_characters: int = SHARED_LINE_CHARACTERS) -> int:
    r"""Counts the different long lines that stand in both sets of documents.

    Args:
      first, second: Documents.
      line_characters: shorter lines do not count.

    >>> from gecko_jax.datasets import text
    >>> shared_lines(text.from_texts(["A line that both have"]), text.from_texts(["a line that both have\nNo."]))
    1
    """
    ours, theirs = (
        {line for each in part.text for line in _long_lines(each, line_characters)} for part in (first, second)
    )
    return len(ours & theirs)


def plain_text(page: str) -> str:
    """Returns the text of an HTML page, a line for each paragraph.

    Args:
      page: HTML.

    >>> plain_text("<html><head><title>x</title></head><p>One &amp; two.</p><br>Three</html>").split()
    ['One', '&', 'two.', 'Three']
    """
    return html.unescape(_TAG.sub("", _PARAGRAPH.sub("\n", _HIDDEN.sub("", page))))


def _changed(documents: Documents, texts: list[str], min_characters: int) -> Documents:
    if documents.secrets is not None:
        raise ValueError(
            "documents have secrets, whose places would no longer be those of the changed text. Made-up notes need no "
            "cleaning; for others pass documents._replace(secrets=None) and find the secrets afterwards."
        )
    long = np.array([len(each) >= min_characters for each in texts])
    if not long.any():
        raise ValueError(
            f"none of {len(texts)} documents has {min_characters} characters left after cleaning; lower "
            "min_characters, or pass documents that do not repeat each other."
        )
    return documents._replace(text=tuple(texts)).take(long)


def _without_furniture(document: str) -> str:
    if re.search(r"(?i)<(html|head|body|script|div|table|br|p)\b", document):
        document = plain_text(document)
    document = _CHARACTER.sub(lambda code: html.unescape(code[0]), document)
    lines: list[str] = []
    for line in document.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _SIGNATURE.fullmatch(line) or _REST_IS_QUOTED.fullmatch(line):
            break
        if _QUOTED.match(line):
            while lines and not lines[-1].strip():
                lines.pop()
            if lines and _ATTRIBUTION.fullmatch(lines[-1]):
                last = lines.pop()
                if lines and _ATTRIBUTION_BEGINS.fullmatch(lines[-1]) and not _ATTRIBUTION_BEGINS.fullmatch(last):
                    lines.pop()  # "On Monday 5 May, Ann" stands on a line of its own
        elif not _MAIL_HEADER.fullmatch(line):
            lines.append(_ADDRESS.sub("", line))
    return _single_blanks("\n".join(lines))


def _single_blanks(document: str) -> str:
    """Returns a text with single blanks, no blanks at the ends of lines, and at most one empty line in a row."""
    lines = "\n".join(" ".join(line.split()) for line in document.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def _key(line: str) -> str:
    return " ".join(line.lower().split())


def _long_lines(document: str, line_characters: int) -> set[str]:
    keys = {_key(line) for line in document.split("\n")}
    return {key for key in keys if len(key) >= line_characters}
