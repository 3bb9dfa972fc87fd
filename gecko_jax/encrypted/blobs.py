"""The frame of everything that client and server exchange or store: what it is, whose it is, and whether it is intact.

  bytes  field
      8  magic
      2  version of this format
      2  kind, a place in KINDS
     16  hash of the program that it belongs to
     16  key id: which secret key
     16  request id: an answer repeats that of its question
      4  number of examples
      8  bytes of payload
     32  SHA-256 of all other bytes
      n  payload: parts, each behind its length

Numbers are big-endian; nothing is pickled. The digest reveals damage. It does not reveal a forger, who computes it
again: SEAL refuses what is not a ciphertext of these parameters, and who sent one is for the transport (TLS) to say.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks, digests

MAGIC, VERSION = b"GECKO_HE", 1
KINDS = ("evaluation keys", "encrypted input", "encrypted output", "secret key", "program interface", "program")
PROGRAM_BYTES, ID_BYTES = 16, 16
NO_ID = bytes(ID_BYTES)
_FIELDS = struct.Struct(">8sHH16s16s16sIQ")
_PART = struct.Struct(">Q")
HEADER_BYTES = _FIELDS.size + 32


class Refused(ValueError):
    """What was sent is not answered, and why; nothing was computed and nothing changed."""


class Header(NamedTuple):
    """What a blob says about itself.

    Attributes:
      kind: one of KINDS.
      program: hash of the program that it belongs to, 16 bytes.
      key: id of the secret key, 16 bytes; random, it says nothing about the key.
      request: id of the question, repeated by its answer, 16 bytes; zero for keys.
      samples: number of examples, 0 for keys.
    """

    kind: str
    program: bytes
    key: bytes
    request: bytes = NO_ID
    samples: int = 0


def write(header: Header, parts: Sequence[bytes]) -> bytes:
    """Returns parts behind their header.

    Args:
      header: what they are.
      parts: contents, in an order that the kind prescribes.

    >>> blob = write(Header("encrypted input", bytes(16), bytes(16), samples=2), [b"one", b""])
    >>> header, parts = read(blob, "encrypted input", max_bytes=1000)
    >>> header.samples, parts
    (2, [b'one', b''])
    """
    kind = KINDS.index(checks.one_of("kind", header.kind, KINDS)) + 1
    payload = b"".join(piece for part in parts for piece in (_PART.pack(len(part)), part))
    ids = (header.program, header.key, header.request)
    if [len(each) for each in ids] != [PROGRAM_BYTES, ID_BYTES, ID_BYTES]:
        raise ValueError(f"program, key, request have {[*map(len, ids)]} bytes; expected 16, 16, 16.")
    fields = _FIELDS.pack(MAGIC, VERSION, kind, *ids, header.samples, len(payload))
    return b"".join((fields, bytes.fromhex(digests.sha256(fields, payload)), payload))


def read(blob: bytes, kind: str, max_bytes: int) -> tuple[Header, list[bytes]]:
    """Reads a blob: the size first, then what it claims to be, then its digest.

    Args:
      blob: what was received.
      kind: one of KINDS: what is expected.
      max_bytes: the most that a blob of this kind can have.

    Returns:
      Its header and its parts.

    Raises:
      Refused: if it is larger, of another format, version or kind, cut, or damaged.
    """
    header, length = _header(blob, kind, max_bytes)
    fields, digest, payload = blob[: _FIELDS.size], blob[_FIELDS.size : HEADER_BYTES], blob[HEADER_BYTES:]
    if len(payload) != length:
        raise Refused(f"{kind}: truncated or padded: {len(payload)} bytes of payload, declared are {length}.")
    if bytes.fromhex(digests.sha256(fields, payload)) != digest:
        raise Refused(f"{kind}: damaged: its SHA-256 is not the one in its header. Send it again.")
    return header, _parts(payload, kind)


def peek(blob: bytes) -> Header:
    """Returns what a blob says about itself, unchecked but for its form: to name it, not to trust it.

    Args:
      blob: what `write` returned.

    Raises:
      Refused: if it has no header of this format.

    >>> peek(write(Header("encrypted input", bytes(16), bytes(16), samples=3), [])).samples
    3
    """
    number = int.from_bytes(blob[10:12], "big")
    kind = KINDS[number - 1] if 0 < number <= len(KINDS) else KINDS[0]
    return _header(blob, kind, len(blob))[0]


def _header(blob: bytes, kind: str, max_bytes: int) -> tuple[Header, int]:
    """The header, as far as it can be checked without the payload, and the payload's declared length."""
    if len(blob) > max_bytes:
        raise Refused(f"{kind}: {len(blob)} bytes; for this program it has at most {max_bytes}.")
    if len(blob) < HEADER_BYTES:
        raise Refused(f"{kind}: truncated: {len(blob)} bytes, less than the {HEADER_BYTES} of a header.")
    magic, version, number, program, key, request, samples, length = _FIELDS.unpack_from(blob)
    if magic != MAGIC:
        raise Refused(f"{kind}: begins with {magic!r}, not with {MAGIC!r}: it is not a blob of gecko_jax.encrypted.")
    if version != VERSION:
        raise Refused(
            f"{kind}: format version {version}; this is version {VERSION}. Use the same gecko_jax on both sides."
        )
    actual = KINDS[number - 1] if 0 < number <= len(KINDS) else f"of unknown kind {number}"
    if actual != kind:
        warning = " A secret key must never be sent: make a new client and send its evaluation keys." * (
            actual == "secret key"
        )
        raise Refused(f"expected {kind}, received {actual}.{warning}")
    return Header(kind, program, key, request, samples), length


def _parts(payload: bytes, kind: str) -> list[bytes]:
    parts, place = [], 0
    while place < len(payload):
        start = place + _PART.size
        end = start + _PART.unpack_from(payload, place)[0] if start <= len(payload) else start
        if end > len(payload):
            raise Refused(f"{kind}: a part ends at byte {end} of a payload of {len(payload)} bytes.")
        parts.append(payload[start:end])
        place = end
    return parts


def check_belongs(header: Header, program: bytes, key: bytes | None = None) -> None:
    """Checks that a blob is of this program, and of this key.

    Args:
      header: of the blob.
      program: hash of the program.
      key: id of the secret key; None: any.

    Raises:
      Refused: if it is of another.

    >>> check_belongs(Header("encrypted input", bytes(16), bytes(16)), bytes(16), bytes(16))
    """
    if header.program != program:
        raise Refused(
            f"{header.kind}: made for program {header.program.hex()[:16]}..., this is {program.hex()[:16]}.... "
            "Client and server must load the same saved program."
        )
    if key is not None and header.key != key:
        raise Refused(
            f"{header.kind}: made with key {header.key.hex()[:16]}..., expected {key.hex()[:16]}.... "
            "It would decrypt to noise: use the client that sent the evaluation keys."
        )


def check_answers(answer: Header, question: Header) -> None:
    """Checks that an answer is that of a question, and of as many examples.

    Args:
      answer, question: headers of an encrypted output and of an encrypted input.

    Raises:
      Refused: if it is of another.

    >>> answer, question = (Header(kind, bytes(16), bytes(16)) for kind in ("encrypted output", "encrypted input"))
    >>> check_answers(answer, question)
    """
    if question != answer._replace(kind="encrypted input"):
        raise Refused(
            f"encrypted output: answers request {answer.request.hex()[:16]}... with {answer.samples} examples; the "
            f"question is an {question.kind}, request {question.request.hex()[:16]}... with {question.samples}."
        )
