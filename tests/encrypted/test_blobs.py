"""The frame of what crosses the wire: it is read back exactly, and anything else is refused with its reason."""

import re

import hypothesis
import pytest
from hypothesis import strategies

from gecko_jax.encrypted import Refused, blobs

PROGRAM, KEY, REQUEST = b"p" * 16, b"k" * 16, b"r" * 16
HEADER = blobs.Header("encrypted input", PROGRAM, KEY, REQUEST, 3)
PARTS = [b"first", b"", b"\x00" * 40]
BLOB = blobs.write(HEADER, PARTS)


def read(blob, kind="encrypted input", max_bytes=1000):
    return blobs.read(blob, kind, max_bytes)


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(strategies.lists(strategies.binary(max_size=30), max_size=4), strategies.sampled_from(blobs.KINDS))
def test_what_is_written_is_read(parts, kind):
    header = HEADER._replace(kind=kind)
    assert read(blobs.write(header, parts), kind) == (header, parts)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(strategies.integers(0, len(BLOB) - 1), strategies.integers(1, 255))
def test_one_damaged_byte_is_refused_wherever_it_lies(place, change):
    damaged = bytearray(BLOB)
    damaged[place] ^= change
    with pytest.raises(Refused):
        read(bytes(damaged))


@pytest.mark.parametrize("length", range(len(BLOB)))
def test_a_blob_cut_anywhere_is_refused(length):
    with pytest.raises(Refused, match="truncated"):
        read(BLOB[:length])


@pytest.mark.parametrize(
    "blob, message",
    [
        (BLOB + b"x", "payload, declared are"),
        (b"x" * 2000, "2000 bytes; for this program it has at most 1000"),
        (b"PK" * 100, "begins with b'PKPKPKPK'"),
        (BLOB[:9] + b"\x02" + BLOB[10:], "format version 2; this is version 1"),
        (BLOB[:11] + b"\x09" + BLOB[12:], "received of unknown kind 9"),
        (BLOB[:-1] + b"\x01", "damaged: its SHA-256"),
        (blobs.write(HEADER._replace(kind="evaluation keys"), PARTS), "expected encrypted input, received evaluation"),
        (blobs.write(HEADER._replace(kind="secret key"), PARTS), "A secret key must never be sent"),
    ],
)
def test_what_is_wrong_is_named(blob, message):
    with pytest.raises(Refused, match=re.escape(message)):
        read(blob)


def test_the_size_is_refused_before_anything_is_read():
    class Large(bytes):
        def __len__(self):
            return 10**12

        def __getitem__(self, place):
            raise AssertionError("it was read")

    with pytest.raises(Refused, match="1000000000000 bytes"):
        read(Large())


def test_a_part_that_passes_the_end_is_refused_although_the_digest_is_right(monkeypatch):
    monkeypatch.setattr(blobs, "_PART", blobs.struct.Struct(">xxxxI"))
    honest = blobs.write(HEADER, [b"abcd"])
    monkeypatch.undo()
    assert read(honest)[1] == [b"abcd"]
    for parts in (b"\xff" * 8 + b"abcd", b"\x00" * 7 + b"\x05abcd", b"\x00" * 7):
        fields = blobs._FIELDS.pack(blobs.MAGIC, 1, 2, PROGRAM, KEY, REQUEST, 3, len(parts))
        digest = bytes.fromhex(blobs.digests.sha256(fields, parts))
        with pytest.raises(Refused, match="a part ends at byte"):
            read(fields + digest + parts)


def test_another_program_or_key_is_refused():
    blobs.check_belongs(HEADER, PROGRAM, KEY)
    blobs.check_belongs(HEADER, PROGRAM)
    with pytest.raises(Refused, match=r"made for program 70707070.*, this is 61616161"):
        blobs.check_belongs(HEADER, b"a" * 16, KEY)
    with pytest.raises(Refused, match=r"made with key 6b6b6b6b.*, expected 61616161"):
        blobs.check_belongs(HEADER, PROGRAM, b"a" * 16)


@pytest.mark.parametrize("change, message", [({"kind": "letter"}, "kind"), ({"key": b"short"}, r"\[16, 5, 16\]")])
def test_a_header_that_cannot_be_written_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        blobs.write(HEADER._replace(**change), PARTS)
