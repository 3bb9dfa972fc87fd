"""Tokenizers: nothing is lost, no text is special, and the merges are applied as a naive loop applies them."""

import json
import re

import numpy as np
import pytest

from gecko_jax.datasets import text

PUBLIC = text.notes(40, seed=7)
STRANGE = ["", "plain words", "<pad><mask> <end>", "né ☃ 日本語 𝄞", "tab\tand\r\nlines\n\n", "\x00\x7f",
           "  two  spaces "]  # fmt: skip


@pytest.fixture(name="tokenizers", scope="module")
def build_both():
    return {"bytes": text.bytes_tokenizer(), "bpe": text.learn_bpe(PUBLIC, vocabulary=300)}


@pytest.mark.parametrize("name", ["bytes", "bpe"])
def test_every_text_comes_back_and_none_is_special(tokenizers, name):
    tokenizer = tokenizers[name]
    for each in (*STRANGE, *text.notes(5, seed=8).text):
        ids = tokenizer.encode(each)
        assert tokenizer.decode(ids) == each == tokenizer.decode([0, *np.array(ids, np.int32), tokenizer.end, 0])
        assert not ids or (min(ids) > 2 and max(ids) < tokenizer.vocabulary)
        assert tokenizer.token_bytes[ids].sum() == len(each.encode())
    assert tokenizer.token_bytes.shape == (tokenizer.vocabulary,) and not tokenizer.token_bytes[:3].any()


def naive(definition, each):
    """The ids of an ASCII text: split into words as GPT-2 does, and the earliest merge of all pairs applied first."""
    model = definition["bpe"]["model"]
    order = {tuple(pair): i for i, pair in enumerate(model["merges"])}
    ids = []
    for word in re.findall(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", each):
        parts = list(word.replace(" ", "Ġ"))
        while len(parts) > 1:
            ranked = [(order.get(pair, len(order)), i) for i, pair in enumerate(zip(parts, parts[1:], strict=False))]
            rank, i = min(ranked)
            if rank == len(order):
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [model["vocab"][part] for part in parts]
    return ids


def test_merges_are_applied_in_the_order_in_which_they_were_learned(tokenizers):
    for each in (*PUBLIC.text[:5], *text.notes(5, seed=8).text):
        assert tokenizers["bpe"].encode(each) == naive(tokenizers["bpe"].definition, each)
    assert len(tokenizers["bpe"].encode(PUBLIC.text[0])) < 0.8 * len(PUBLIC.text[0])


def test_learning_is_repeatable_and_a_file_holds_all_of_it(tokenizers, tmp_path):
    again = text.learn_bpe(list(PUBLIC.text), vocabulary=300)
    assert again.definition == tokenizers["bpe"].definition
    for name, tokenizer in tokenizers.items():
        loaded = text.load_tokenizer(text.save_tokenizer(tmp_path / f"{name}.json", tokenizer))
        assert loaded.definition == tokenizer.definition and loaded.vocabulary == tokenizer.vocabulary
        assert loaded.encode(STRANGE[3]) == tokenizer.encode(STRANGE[3])


def test_a_literal_special_word_in_public_text_gets_no_special_id():
    learned = text.learn_bpe(["<pad> <mask> and <pad> <end> "] * 50, vocabulary=290)
    ids = learned.encode("<pad> <mask><end>")
    assert min(ids) > 2 and learned.decode(ids) == "<pad> <mask><end>"


def test_what_is_not_a_tokenizer_is_refused(tmp_path, tokenizers):
    with pytest.raises(ValueError, match="vocabulary=258 must be at least 259"):
        text.learn_bpe(["public"], vocabulary=258)
    with pytest.raises(ValueError, match="texts is one text"):
        text.learn_bpe("public")
    path = tmp_path / "other.json"
    changed = json.loads(json.dumps(tokenizers["bpe"].definition))
    changed["bpe"]["added_tokens"] = [{"id": 0, "content": "<pad>", "special": True, "single_word": False,
                                       "lstrip": False, "rstrip": False, "normalized": False}]  # fmt: skip
    cases = {"not JSON": "Expecting value", '{"name": "words"}': "its name is 'words'", "[]": "its name is None",
             '{"name": "bpe", "bpe": {"model": 1}}': "merges cannot be read",
             json.dumps(changed): "ids 0 to 2 must be <pad>, <mask>, <end>, and plain text never"}  # fmt: skip
    for content, message in cases.items():
        path.write_text(content)
        with pytest.raises(ValueError, match=f"other.json is not a tokenizer that .* wrote: .*{message}"):
            text.load_tokenizer(path)
