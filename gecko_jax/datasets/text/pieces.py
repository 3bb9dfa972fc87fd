"""Pieces of a document, public tokens and secrets, and rows of them whose boundaries no secret moves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Piece(NamedTuple):
    """A public token, or a secret: its tokens, the room that it takes, and its number (0 if public)."""

    tokens: list[int]
    room: int
    secret: int


def encode(tokenizer: Any, text: str) -> list[int]:
    """Returns a text's tokens; ValueError if one of them is padding or the mask."""
    tokens = [int(token) for token in tokenizer.encode(text)] if text else []
    for special in (tokenizer.padding, tokenizer.mask):
        if special in tokens:
            raise ValueError(f"tokenizer {tokenizer.name!r} encodes some text as its special id {special}.")
    return tokens


def cut_rows(pieces: Iterable[Piece], length: int) -> list[list[Piece]]:
    """Fills rows one after another, each with as many pieces as its room allows.

    A row begins with the last piece of the one before, which a causal model then predicts from, unless it is a secret.
    """
    rows: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if piece.room > room:
            rows.append([last] if rows and not (last := rows[-1][-1]).secret else [])
            room = length - len(rows[-1])
        rows[-1].append(piece)
        room -= piece.room
    return rows


def fill(row: np.ndarray, values: list[int]) -> None:
    """Writes values at the beginning of a row."""
    row[: len(values)] = values
