"""A published GPT-2 from files that the user has: its weights, and its tokenizer with padding as token 0.

GPT-2 has no padding, and its token 0 is a word. Its "<|endoftext|>", which no text holds, trades places with that word
in the tokenizer and in the embedding alike: the model computes the same, and 0 is free for padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gecko_jax import extras, models
from gecko_jax.datasets import text
from gecko_jax.types import Model, Variables

END = "<|endoftext|>"
TOKENIZER_FILE = "tokenizer.json"


def tokenizer(weights: str | Path) -> text.Tokenizer:
    """Returns the tokenizer whose file lies beside the weights, its end of text being token 0.

    Args:
      weights: the file of the weights.

    Raises:
      FileNotFoundError: no tokenizer.json beside it.
      ValueError: a tokenizer without "<|endoftext|>".
    """
    path = Path(weights).parent / TOKENIZER_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there. Put GPT-2's {TOKENIZER_FILE} beside the weights.")
    extras.require("tokenizers", "GPT-2's tokenizer")
    import tokenizers

    coder = tokenizers.Tokenizer.from_file(str(path))
    end = coder.token_to_id(END)
    if end is None:
        raise ValueError(f"{path} has no token {END!r}; expected GPT-2's tokenizer, whose end of text becomes padding.")
    names = coder.get_vocab()
    token_bytes = np.zeros(len(names), np.int64)
    for name, i in names.items():  # a byte is one character of the alphabet of bytes
        token_bytes[_traded(i, end)] = 0 if i == end else len(name)

    def encode(document: str) -> list[int]:
        return [_traded(i, end) for i in coder.encode(document.replace(END, ""), add_special_tokens=False).ids]

    def decode(ids: Iterable[int]) -> str:
        return coder.decode([_traded(int(i), end) for i in ids if int(i) != 0])

    return text.Tokenizer("gpt2", len(names), encode, decode, token_bytes, {"name": "gpt2", "end": end})


def load(weights: str | Path, tokens: text.Tokenizer) -> tuple[Model, Variables]:
    """Returns the model, its embedding's rows in the order of `tokenizer`.

    Args:
      weights: model.safetensors or .npz in the published layout, with config.json beside it.
      tokens: of `tokenizer`.

    Raises:
      ValueError: a vocabulary of another size, or a head that is not the embedding's table.
    """
    saved = models.load_gpt2(weights)
    params = dict(saved.variables["params"])
    table = np.array(params["embed"]["embedding"])
    if len(table) != tokens.vocabulary or "head" in params:
        raise ValueError(
            f"{weights} has {len(table)} rows in its embedding{' and a head of its own' if 'head' in params else ''}; "
            f"expected GPT-2's, a tied table of the tokenizer's {tokens.vocabulary} tokens."
        )
    end = tokens.definition["end"]
    table[[0, end]] = table[[end, 0]]
    return saved.model, {**saved.variables, "params": {**params, "embed": {"embedding": table}}}


def _traded(i: int, end: int) -> int:
    """Returns a token's number after the end of text and token 0 have traded places; the same again undoes it."""
    return {0: end, end: 0}.get(i, i)
