"""Cleaning: an author's own words stay, what others wrote goes, and no line stands in two documents."""

import numpy as np
import pytest

from gecko_jax.datasets import text

OWN = "I think that the second patch is right"


@pytest.mark.parametrize(
    "furniture",
    [
        "> what you wrote\n",
        "ann> what you wrote\n",
        "  | what you wrote\n",
        "--] what you wrote\n",
        "On Monday, Ann Example wrote:\n\n> what you wrote\n> and more\n",
        "On Mon, 5 May 2003 at 10:00,\nAnn Example <ann@example.org> wrote:\n> what you wrote\n",
        "\n-- \nAnn Example\nphone 5 55\n",
        "-----Original Message-----\nwhat you wrote\n",
        "Begin forwarded message:\nwhat you wrote\n",
        "http://example.org/a?b=c\n",
        "<mailto:ann@example.org> www.example.org\n",
        "Subject: Re: what you wrote\nX-Loop: list\n",
        "\n\n\n   \n",
        "<script>var x;</script><!-- no --><br>\n",
        "<head><title>what you wrote</title></head>\n",
    ],
)
def test_what_is_not_the_authors_goes(furniture):
    cleaned = text.clean(text.from_texts([f"{OWN}\n{furniture}"]), min_characters=5)
    assert cleaned.text == (OWN,)


@pytest.mark.parametrize(
    "words",
    [
        "a > b and b < c",
        "if x<y: print(x)",
        "He said: no",
        "- an item\n- another",
        "e.g. a|b",
        "Q&A &amp; R",
        "--flag is on",
    ],
)
def test_what_is_the_authors_stays(words):
    document = f"{words}\n{OWN}"
    assert text.clean(text.from_texts([document])).text == (document,)


def test_a_very_long_line_is_cleaned_in_linear_time():
    """Of 400,000 characters: an expression that backtracks over all of a line would take minutes."""
    blob = "QUJD" * 100_000
    assert text.clean(text.from_texts([f"{blob}\n{OWN} ann@example.org"])).text == (f"{blob}\n{OWN}",)


def test_html_becomes_lines_of_text():
    page = "<html><body><p>One &amp; two.</p><div class='x'>Three<br/>four &#8220;five&#8221;</div></body></html>"
    assert text.clean(text.from_texts([page]), min_characters=3).text == ("One & two.\nThree\nfour \u201cfive\u201d",)


def long_lines(document):
    return {" ".join(line.lower().split()) for line in document.split("\n") if len(" ".join(line.split())) > 15}


def test_no_long_line_is_left_in_two_documents_and_no_other_is_lost():
    """Against pairs of documents, each line of one looked for in the other."""
    random = np.random.default_rng(0)
    lines = [f"line number {i} of the shared text" for i in range(30)] + ["short one"] * 5 + ["Yes.", "No."]
    texts = [
        "\n".join([*(lines[i] for i in random.integers(0, len(lines), 6)), f"only in {n}, by itself"])
        for n in range(25)
    ]
    documents = text.from_texts(texts, user=[f"u{n}" for n in range(25)], ids=np.arange(25) + 100)
    cleaned = text.deduplicate(documents, min_characters=1)
    for place, name in enumerate(cleaned.id.tolist()):
        others = [other for n, other in enumerate(texts) if n != name - 100]
        expected = [line for line in texts[name - 100].split("\n")
                    if len(line) <= 15 or not any(line in other.split("\n") for other in others)]  # fmt: skip
        assert cleaned.text[place] == "\n".join(expected) and cleaned.user[place] == f"u{name - 100}"
    assert len(cleaned.id) == 25
    for i, first in enumerate(cleaned.text):
        assert not any(long_lines(first) & long_lines(other) for other in cleaned.text[i + 1 :])


def test_public_lines_equal_documents_and_empty_ones_go():
    documents = text.from_texts(
        ["same\nsame", "Same \nsame", "In  PUBLIC, word for word\nmine", "mine and only mine", "a"]
    )
    public = text.from_texts(["in public, word for word\nand more"])
    cleaned = text.deduplicate(documents, against=public, min_characters=2)
    assert cleaned.text == ("mine", "mine and only mine") and cleaned.id.tolist() == [2, 3]
    assert text.shared_lines(cleaned, public) == 0 < text.shared_lines(documents, public) == 1
    with pytest.raises(ValueError, match="none of 2 documents has 40 characters left after cleaning"):
        text.deduplicate(text.from_texts(["the very same long line, twice in here"] * 2))


def test_places_of_secrets_are_not_lost_in_silence():
    for change in (text.clean, text.deduplicate):
        with pytest.raises(ValueError, match="documents have secrets, whose places"):
            change(text.notes(3, seed=0))


def test_rows_of_furniture_and_repeated_rows_go():
    documents = text.from_texts(["some words of mine", "#### 12 #### 34 ####", "some words of mine", "é ö ü ä 9 + -"])
    tokenizer = text.bytes_tokenizer()
    rows = text.rows(documents, tokenizer, 32)
    assert text.select_rows(rows, tokenizer, 0.5).document.tolist() == [0, 3]
    assert text.select_rows(rows, tokenizer, 0.5, unique=False).document.tolist() == [0, 2, 3]
    assert text.select_rows(rows, tokenizer, 0.7).document.tolist() == [0]
    with pytest.raises(ValueError, match="min_letters=1 leaves none of 1 rows"):
        text.select_rows(rows.take([1]), tokenizer, 1.0)
