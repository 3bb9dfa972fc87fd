"""Documents: what is refused, what is taken, what is joined."""

import numpy as np
import pytest

from gecko_jax.datasets import text


@pytest.mark.parametrize(
    "texts, options, message",
    [
        ("one text", {}, r"texts is one text; expected a list of documents. Pass \[text\]"),
        ([], {}, "texts is empty"),
        (["a", " \n"], {}, r"texts\[1\] is empty; leave the document out"),
        (["a", b"b"], {}, r"texts\[1\] is a bytes; expected a str"),
        (["ok", "a\udce9"], {}, r"texts\[1\] holds '\\udce9' at 1, which UTF-8 cannot write"),
        (["a", "b"], {"user": ["ann"]}, "user has 1 entries for 2 documents"),
        (["a", "b"], {"user": ["ann", None]}, r"user\[1\] is None; name every author"),
        (["a", "b"], {"user": [float("nan"), "ann"]}, r"user\[0\] is nan; name every author"),
        (["a", "b"], {"ids": [3, 3]}, "ids must be unique"),
        (["a", "b"], {"time": ["now", "then"]}, "time has dtype"),
        (["a", "b"], {"time": [1.0]}, "time has 1 entries for 2 documents"),
    ],
)
def test_bad_texts_are_refused(texts, options, message):
    with pytest.raises(ValueError, match=message):
        text.from_texts(texts, **options)


def test_every_field_follows_its_document():
    notes = text.notes(6, seed=1)._replace(time=np.arange(6.0))
    for index in ([4, 1], np.arange(6) % 2 == 1):
        places = np.arange(6)[index]
        taken = notes.take(index)
        for i, place in enumerate(places):
            assert (taken.text[i], taken.user[i], taken.id[i], taken.time[i], taken.secrets[i]) == tuple(
                column[place] for column in notes[:5]
            )
            assert all(taken.traits[name][i] == notes.traits[name][place] for name in notes.traits)
    with pytest.raises(ValueError, match="index has shape"):
        notes.take(np.ones(5, bool))


def test_joined_parts_keep_what_all_of_them_have():
    ours, plain = text.notes(3, seed=0), text.from_texts(["x", "y"], ids=[-1, -2])
    joined = text.join(ours, plain)
    assert joined.text == (*ours.text, "x", "y") and joined.id.tolist() == [0, 1, 2, -1, -2]
    assert joined.user is None and joined.secrets is None and joined.traits is None
    both = text.join(ours, text.notes(2, seed=0, first=3))
    everything = text.notes(5, seed=0)
    assert both.text == everything.text and both.secrets == everything.secrets
    assert both.traits["style"].tolist() == everything.traits["style"].tolist()
    with pytest.raises(ValueError, match="3 ids are in several parts, the first 0"):
        text.join(ours, ours)
