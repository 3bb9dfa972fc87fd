"""Made-up notes: public ones for tokenizer and base, private ones to train on, and as many that nobody trains on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.text_privacy.config import Config
from gecko_jax.datasets import text
from gecko_jax.datasets.text import SelectiveRows, Tokenizer, policies

NUMBERS = policies.matching(r"[0-9][0-9 ]*[0-9]", "[A-Z]{3}[0-9]{3}")


class Notes(NamedTuple):
    """What all rows of the table share.

    Attributes:
      tokenizer: learned on the public notes.
      public: rows [p, length] of the public notes.
      private: {policy: rows of the notes that are trained on}.
      heldout: rows of notes by the same authors that nothing is trained on.
      traits: {name: trait [h] of the author of each held-out row}.
      coverage: {policy: what it finds, in words}.
    """

    tokenizer: Tokenizer
    public: text.Rows
    private: dict[str, SelectiveRows]
    heldout: SelectiveRows
    traits: dict[str, np.ndarray]
    coverage: dict[str, str]


def prepare(config: Config) -> Notes:
    """Makes the notes of a config, and cuts them into rows."""
    public = text.notes(config.public_notes, seed=config.seed + 1000, authors=config.authors)
    everything = text.notes(2 * config.notes, seed=config.seed, authors=config.authors)
    tokenizer = text.learn_bpe(public, config.vocabulary)
    members, others = (everything.take(np.arange(config.notes) + i * config.notes) for i in range(2))
    known = {"all": policies.annotated(everything), "numbers": NUMBERS}

    def rows(documents: text.Documents, policy: text.Policy) -> SelectiveRows:
        return text.selective_rows(documents, tokenizer, config.length, policy, config.secret_length)

    heldout = rows(others, known["all"])
    places = {int(name): i for i, name in enumerate(others.id)}
    order = [places[int(name)] for name in heldout.document]
    return Notes(
        tokenizer,
        text.rows(public, tokenizer, config.length),
        {name: rows(members, policy) for name, policy in known.items()},
        heldout,
        {name: values[order] for name, values in (others.traits or {}).items()},
        {name: str(text.coverage(policy, members)) for name, policy in known.items()},
    )
