"""Tokenizers: text -> token ids and back, without loss; bytes, or byte pairs that are learned from public text.

Ids 0, 1 and 2 are padding, the mask and the end of a text in every tokenizer, and no text contains them: a document
that spells "<pad>" is encoded as those five characters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, extras
from gecko_jax.datasets.text.documents import Documents, from_texts
from gecko_jax.digests import value_digest
from gecko_jax.files import write_atomic
from gecko_jax.json_values import dumps

SPECIALS = ("<pad>", "<mask>", "<end>")
PADDING, MASK, END = range(len(SPECIALS))
BYTES = 256


class Tokenizer(NamedTuple):
    """A map between texts and token ids.

    Attributes:
      name: "bytes" or "bpe".
      vocabulary: number of ids.
      encode: text -> ids, none of them special.
      decode: ids -> text; special ids are dropped, bytes that end within a character become U+FFFD.
      token_bytes: int64 [vocabulary], the bytes of text that each id stands for; 0 for the special ones.
      definition: what `load_tokenizer` builds it from again, in JSON's types.
      padding, mask, end: the special ids.
      unknown: the id of what cannot be encoded; None, because every text can.
    """

    name: str
    vocabulary: int
    encode: Callable[[str], list[int]]
    decode: Callable[[Iterable[int]], str]
    token_bytes: np.ndarray
    definition: dict[str, Any]
    padding: int = PADDING
    mask: int = MASK
    end: int = END
    unknown: int | None = None


def bytes_tokenizer() -> Tokenizer:
    """Builds the tokenizer whose tokens are the bytes of UTF-8: a vocabulary of 259, with nothing to learn.

    >>> tokens = bytes_tokenizer().encode("hé")
    >>> tokens, bytes_tokenizer().decode(tokens)
    ([107, 198, 172], 'hé')
    """

    def decode(ids: Iterable[int]) -> str:
        values = (int(i) - len(SPECIALS) for i in ids)
        return bytes(value for value in values if value >= 0).decode(errors="replace")

    return Tokenizer(
        "bytes",
        BYTES + len(SPECIALS),
        lambda text: [byte + len(SPECIALS) for byte in text.encode()],
        decode,
        np.array([0] * len(SPECIALS) + [1] * BYTES, np.int64),
        {"name": "bytes"},
    )


def learn_bpe(texts: Documents | Iterable[str], vocabulary: int = 2048) -> Tokenizer:
    """Learns byte-pair encoding on PUBLIC texts: the merges of a vocabulary repeat what is frequent in its text.

    A tokenizer that was learned on private text publishes that text's frequent words, whatever privacy the training
    of the model has.

    Args:
      texts: public Documents, or texts.
      vocabulary: number of ids, at least 259: the special ones, the 256 bytes, and the merges.

    Returns:
      A Tokenizer of at most that many ids; fewer if the texts have no more pairs that occur twice.

    Raises:
      ValueError: a vocabulary below 259, or texts that `from_texts` refuses.
      ImportError: without the package tokenizers.

    Source: Sennrich et al., "Neural machine translation of rare words with subword units" (2016), over bytes.

    >>> tokenizer = learn_bpe(["low lower lowest"] * 2, vocabulary=262)
    >>> len(tokenizer.encode("lower")), tokenizer.decode(tokenizer.encode("lower, né <pad>"))
    (3, 'lower, né <pad>')
    """
    checks.integer("vocabulary", vocabulary, BYTES + len(SPECIALS))
    texts = texts.text if isinstance(texts, Documents) else from_texts(texts).text
    extras.require("tokenizers", "learn_bpe")
    import tokenizers

    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )
    learner.train_from_iterator(texts, trainer)
    # The names of the special ids would be found in texts, and a document could hold padding: they are plain text.
    settings = json.loads(learner.to_str()) | {"added_tokens": []}
    return _bpe({"name": "bpe", "learned_on": value_digest(list(texts)), "bpe": settings})


def save_tokenizer(path: str | os.PathLike[str], tokenizer: Tokenizer) -> Path:
    """Writes a tokenizer as JSON.

    Args:
      path: the file.
      tokenizer: of `bytes_tokenizer` or `learn_bpe`.

    Returns:
      The path.

    Raises:
      OSError: the file cannot be written.

    >>> import tempfile
    >>> path = save_tokenizer(Path(tempfile.mkdtemp()) / "tokenizer.json", bytes_tokenizer())
    >>> load_tokenizer(path).vocabulary
    259
    """
    return write_atomic(path, dumps(tokenizer.definition, ensure_ascii=False))


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads a tokenizer that `save_tokenizer` wrote.

    Args:
      path: the file.

    Raises:
      FileNotFoundError: no such file.
      ValueError: another file.

    >>> import tempfile
    >>> path = save_tokenizer(Path(tempfile.mkdtemp()) / "tokenizer.json", bytes_tokenizer())
    >>> load_tokenizer(path).decode([107, 108])
    'hi'
    """
    try:
        return from_definition(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"{path} is not a tokenizer that text.save_tokenizer wrote: {reason}.") from error


def from_definition(definition: Any) -> Tokenizer:
    """Builds a tokenizer from its definition.

    Args:
      definition: `Tokenizer.definition`, also if it has been through JSON.

    Raises:
      ValueError: anything else.

    >>> from_definition({"name": "bytes"}).vocabulary
    259
    """
    name = definition.get("name") if isinstance(definition, dict) else None
    if name == "bytes":
        return bytes_tokenizer()
    if name != "bpe" or not isinstance(definition.get("bpe"), dict):
        raise ValueError(f'its name is {name!r}; expected "bytes", or "bpe" with its merges')
    return _bpe(definition)


def _bpe(definition: dict[str, Any]) -> Tokenizer:
    """Builds the tokenizer from the settings that the library of tokenizers wrote."""
    extras.require("tokenizers", "a tokenizer of byte pairs")
    import tokenizers

    try:
        coder = tokenizers.Tokenizer.from_str(dumps(definition["bpe"]))
    except Exception as error:  # the library raises plain Exceptions
        raise ValueError(f"its merges cannot be read ({error})") from error
    names = coder.get_vocab()
    if [coder.id_to_token(i) for i in range(len(SPECIALS))] != list(SPECIALS) or coder.get_added_tokens_decoder():
        raise ValueError(f"ids 0 to {len(SPECIALS) - 1} must be {', '.join(SPECIALS)}, and plain text never")
    token_bytes = np.zeros(len(names), np.int64)
    for name, i in names.items():  # a byte is one character of the alphabet of bytes
        token_bytes[i] = 0 if i < len(SPECIALS) else len(name)

    def decode(ids: Iterable[int]) -> str:
        return coder.decode([int(i) for i in ids if int(i) >= len(SPECIALS)], skip_special_tokens=False)

    def encode(text: str) -> list[int]:
        return coder.encode(text, add_special_tokens=False).ids

    return Tokenizer("bpe", len(names), encode, decode, token_bytes, definition)
