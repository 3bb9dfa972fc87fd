"""Files of one's own: what is read, and what a message says of a file that cannot be."""

import types

import numpy as np
import pytest

from gecko_jax.datasets import text


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name, content in (("b/2.txt", "Two."), ("a/1.txt", "\ufeffOne."), ("b/empty.txt", " \n"), ("a/x.md", "No.")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    documents = text.from_folder(tmp_path, users=True)
    assert documents.text == ("One.", "Two.") and documents.user.tolist() == ["a", "b"] and documents.time is None
    assert text.from_folder(tmp_path, "*.md").text == ("No.",)
    (tmp_path / "bare.txt").write_text("Whose?")
    with pytest.raises(ValueError, match="bare.txt lies in no folder of its author"):
        text.from_folder(tmp_path, users=True)
    (tmp_path / "a" / "old.txt").write_bytes("two lines\nn\u00e9".encode("latin-1"))
    with pytest.raises(ValueError, match=r'old.txt, line 2: byte 0xe9 at 11 is not utf-8.*encoding="latin-1"'):
        text.from_folder(tmp_path)
    assert "two lines\nn\u00e9" in text.from_folder(tmp_path, encoding="latin-1").text
    (tmp_path / "old.jsonl").write_bytes('{"text": "n\u00e9"}'.encode("latin-1"))
    assert text.from_json_lines(tmp_path / "old.jsonl", encoding="latin-1").text == ("n\u00e9",)
    with pytest.raises(ValueError, match="encoding='klingon' is not known"):
        text.from_folder(tmp_path, encoding="klingon")
    with pytest.raises(FileNotFoundError, match="holds no file .*pdf"):
        text.from_folder(tmp_path, "*.pdf")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        text.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds 1 files empty.txt, and all are empty"):
        text.from_folder(tmp_path, "empty.txt")


LINES = '{"words": "One.\\u2028Still one.", "by": "ann", "at": "2024-05-31T12:00:00+02:00", "n": 7}\n\n' \
        '{"words": "Two. \u2028 \u00e9", "by": "bo", "at": null, "n": 8}'  # fmt: skip


def test_json_lines_are_read_with_their_columns(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(LINES, encoding="utf-8")
    documents = text.from_json_lines(path, "words", user="by", time="at", id="n")
    assert documents.text == ("One.\u2028Still one.", "Two. \u2028 \u00e9") and documents.id.tolist() == [7, 8]
    assert documents.time[0] == np.datetime64("2024-05-31T10:00:00") and np.isnat(documents.time[1])
    path.write_text('{"text": "a", "at": 3}\n{"text": "b", "at": 4.5}')
    assert text.from_json_lines(path, time="at").time.tolist() == [3.0, 4.5]


@pytest.mark.parametrize(
    "content, options, message",
    [
        (b"", {}, "is empty; expected one JSON object a line"),
        (b"\n \n", {}, "is empty; expected one JSON object a line"),
        (b'{"text": "n\xe9"}', {}, "line 1: byte 0xe9 at 11 is not utf-8"),
        (b'{"text": "a"}\nnot json', {}, "line 2 is not JSON"),
        (b'["text"]', {}, "line 1 is a list; expected an object with 'text'"),
        (b'{"words": "a", "n": 1}', {}, "line 1 has no 'text'; it has n, words"),
        (b'{"text": "a"}\n\n{"text": " "}', {}, "line 3: 'text' is an empty text"),
        (b'{"text": 3}', {}, "line 1: 'text' is a int; expected a text"),
        (b'{"text": "a", "by": null}', {"user": "by"}, "line 1: 'by' names no author"),
        (b'{"text": "a", "at": "today"}', {"time": "at"}, "line 1: 'at' is 'today'; expected a number"),
        (b'{"text": "a", "at": 1}\n{"text": "b", "at": "2020-01-01"}', {"time": "at"}, "line 1: 'at' is 1; expected"),
        (b'{"text": "a", "n": 1}\n{"text": "b", "n": 1}', {"id": "n"}, "mine.jsonl: ids must be unique"),
        (b'{"text": "\\udce9"}', {}, r"mine.jsonl: texts\[0\] holds '\\udce9'"),
    ],
)
def test_a_bad_file_of_json_lines_is_refused_with_its_line(tmp_path, content, options, message):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        text.from_json_lines(path, **options)


def test_a_text_set_of_tfds_is_read_by_its_features(monkeypatch):
    from gecko_jax.datasets import tfds

    records = [{"text": b"n\xc3\xa9", "author": "ann"}, {"text": b"two", "author": "bo"}]
    info = types.SimpleNamespace(splits={"train": 2})
    builder = types.SimpleNamespace(is_prepared=lambda: True, info=info, as_data_source=lambda split: records)
    monkeypatch.setattr(tfds, "_builder", lambda name, data_dir: builder)
    documents = text.from_tfds("mine", user="author")
    assert documents.text == ("n\u00e9", "two") and documents.user.tolist() == ["ann", "bo"]
    with pytest.raises(ValueError, match="feature='words' is not known. .*Known: text, author"):
        text.from_tfds("mine", text="words")
    with pytest.raises(ValueError, match="split='dev' is not known"):
        text.from_tfds("mine", split="dev")


MBOX = b"""From ann@x.org Thu Aug 22 12:36:23 2002
From: Ann Example <Ann@x.org>
Date: Thu, 22 Aug 2002 18:26:25 +0700
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/html; charset=utf-8

<p>Not <b>this</b></p>
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9 at noon
--b
Content-Type: text/plain
Content-Disposition: attachment; filename="a.txt"

not this either
--b--

From bo@x.org Thu Aug 22 12:36:23 2002
From: bo@x.org
Date: never
Content-Type: text/html; charset=no-such-charset

<html><p>caf\xe9</p></html>

From ann@x.org Thu Aug 22 12:36:23 2002
From: ann@x.org
Date: Thu, 22 Aug 2002 18:26:25 -0000

Again.

From bo@x.org Thu Aug 22 12:36:23 2002
From: bo@x.org

"""


def test_mails_give_their_plain_part_their_author_and_their_date(tmp_path):
    path = tmp_path / "mine.mbox"
    path.write_bytes(MBOX)
    mails = text.from_mbox(path)
    assert [each.strip() for each in mails.text] == ["caf\u00e9 at noon", "caf\u00e9", "Again."]
    assert mails.user.tolist() == ["author 0", "author 1", "author 0"] and mails.id.tolist() == [0, 1, 2]
    assert mails.time[0] == np.datetime64("2002-08-22T11:26:25") and np.isnat(mails.time[1])
    assert mails.time[2] == np.datetime64("2002-08-22T18:26:25")
    assert text.from_mbox(path, pseudonyms=False).user.tolist() == ["ann@x.org", "bo@x.org", "ann@x.org"]
    for content, message in ((b"", "is empty; expected an mbox"), (b"Hello", "begins with b'Hello'; expected an mbox"),
                             (b"From a\n\n", "holds no mail with a text")):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            text.from_mbox(path)


def test_text_of_two_bytes_a_character_is_not_read_as_utf_8(tmp_path):
    for name in ("notes.txt", "notes.jsonl"):
        (tmp_path / name).write_bytes('{"text": "One."}\n'.encode("utf-16-le"))
    with pytest.raises(ValueError, match="notes.txt, line 1: .*utf-16"):
        text.from_folder(tmp_path)
    with pytest.raises(ValueError, match="notes.jsonl, line 1: .*utf-16"):
        text.from_json_lines(tmp_path / "notes.jsonl")
    assert text.from_folder(tmp_path, encoding="utf-16-le").text == ('{"text": "One."}\n',)
