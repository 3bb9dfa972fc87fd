"""The text of the study: public rows to pre-train on, and for each seed its own private rows and canaries.

Documents are split before rows are cut, so that no document has rows on two sides. Validation and calibration rows are
the same for all seeds; members, non-members and canaries are drawn afresh for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.memorisation import gpt2
from experiments.memorisation.config import NOTES, PARTS, Config
from gecko_jax import keys
from gecko_jax.datasets import text
from gecko_jax.digests import array_digest
from gecko_jax.types import Examples

PUBLIC_DEPARTMENTS = 2  # of four; the private notes are of the others


class Corpus(NamedTuple):
    """All rows.

    Attributes:
      name: of the private text, as the report calls it.
      tokenizer: learned on the public text.
      public_text: the public documents, which must hold no canary.
      public, public_validation: rows to pre-train on, and rows of other documents.
      private: rows of the private text.
      validation, calibration: rows of it, of documents that no trial draws from.
      digest: of all of that.
    """

    name: str
    tokenizer: text.Tokenizer
    public_text: text.Documents
    public: text.Rows
    public_validation: text.Rows
    private: text.Rows
    validation: text.Rows
    calibration: text.Rows
    digest: str


class Trial(NamedTuple):
    """The rows of one seed.

    Attributes:
      seed: which one.
      train: what its model is trained on: members and inserted canaries.
      members, nonmembers: the rows that membership is asked of.
      canaries: with the fills that were inserted and those that were not.
      validation, calibration: the same for all seeds.
    """

    seed: int
    train: Examples
    members: Examples
    nonmembers: Examples
    canaries: text.canaries.Canaries
    validation: Examples
    calibration: Examples


def load(config: Config) -> Corpus:
    """Returns the rows of a study.

    Args:
      config: the settings.

    Raises:
      FileNotFoundError: a path that is not there, or a package that was not prepared.
      ValueError: text of too few rows, with the number that is needed.
    """
    public, private = _public(config), _private(config)
    if config.private != NOTES:  # notes are phrases of a form: nothing would be left
        private = text.deduplicate(text.clean(private), against=public)
    tokenizer = text.learn_bpe(public, config.vocabulary) if config.weights is None else gpt2.tokenizer(config.weights)
    sides = text.split(public, {"train": 0.95, "validation": 0.05}, config.seed)
    train, held_out = (text.rows(sides[part], tokenizer, config.length) for part in ("train", "validation"))
    unit = PARTS * config.public_batch
    usable = min(config.public_rows, len(train.tokens)) // unit * unit
    if usable == 0:
        raise ValueError(
            f"public text has {len(train.tokens)} rows, of which public_rows={config.public_rows} may be read; "
            f"pre-training needs {unit} at least, {PARTS} parts of a batch. Give more text, or smaller batches."
        )
    train, held_out = (_at_most(*each, config.seed) for each in ((train, usable), (held_out, config.validation)))
    rows = text.rows(private, tokenizer, config.length, min_tokens=config.length // 2)
    rows = text.select_rows(rows, tokenizer)
    rows = rows.take(_places(rows.document) < config.rows_per_document)
    order = keys.generator(config.seed, "memorization", "split").permutation(np.unique(rows.document))
    needed = {"validation": config.validation, "calibration": config.calibration}
    shared, order = _draw(rows, order, needed)
    remaining = rows.take(np.isin(rows.document, order))
    digest = array_digest(*(each.tokens for each in (train, held_out, remaining, *shared.values())))
    name = "made clinical notes" if config.private == NOTES else Path(config.private).stem
    return Corpus(
        name, tokenizer, public, train, held_out, remaining, shared["validation"], shared["calibration"], digest
    )


def _public(config: Config) -> text.Documents:
    parts = [
        _notes(config.public_rows, seed=1, public=True) if name == NOTES else read(name, config.data_dir)
        for name in config.public
    ]
    return text.from_texts([each for part in parts for each in part.text])


def _private(config: Config) -> text.Documents:
    if config.private != NOTES:
        return read(config.private, config.data_dir)
    # A made note fills two rows or more, and half of them are of the departments that are asked for.
    needed = config.validation + config.calibration + 2 * (config.rows + config.nonmembers)
    return _notes(needed, seed=0, public=False)


def _notes(count: int, seed: int, public: bool) -> text.Documents:
    """Returns made notes of the public departments, or of the others: another field, as private text is."""
    notes = text.notes(count, seed)
    departments = (notes.traits or {})["department"].astype(str)
    chosen = np.isin(departments, np.unique(departments)[:PUBLIC_DEPARTMENTS])
    return notes.take(chosen if public else ~chosen)


def read(source: str, data_dir: str | None = None) -> text.Documents:
    """Returns the documents of a prepared package, of JSON lines, of an mbox, or of a folder of text files.

    Args:
      source: a name of `text.PACKAGES`, or a path.
      data_dir: where packages were prepared.
    """
    if source in text.PACKAGES:
        return text.load_package(source, data_dir)
    where = Path(source)
    if not where.exists():
        raise FileNotFoundError(f"{source} is neither a path nor a package; the packages: {', '.join(text.PACKAGES)}.")
    if where.is_dir():
        return text.from_folder(where)
    return text.from_mbox(where) if where.suffix == ".mbox" else text.from_json_lines(where)


def trial(config: Config, corpus: Corpus, seed: int) -> Trial:
    """Returns the rows of one seed.

    Args:
      config: the settings.
      corpus: all rows.
      seed: which one.
    """
    draws = keys.generator(config.seed, "memorization", "trial", seed)
    order = draws.permutation(np.unique(corpus.private.document))
    needed = {"members": config.rows - config.inserted, "nonmembers": config.nonmembers}
    drawn, _ = _draw(corpus.private, order, needed)
    planted = text.canaries.draw(
        "owned_number", ladder=config.ladder, each=config.secrets, references=config.references, seed=seed
    )
    text.canaries.check_absent(corpus.public_text, planted)
    host = text.from_texts(["host"])
    copies = text.canaries.insert(host, planted).take(np.arange(1, 1 + config.inserted))
    inserted = text.rows(copies, corpus.tokenizer, config.length)
    if len(inserted.tokens) != config.inserted:
        raise ValueError(f"length={config.length} cuts a canary into several rows; it needs longer rows.")
    members, more = drawn["members"].causal(), inserted.causal()
    train = Examples(np.concatenate([members.x, more.x]), np.concatenate([members.y, more.y]))
    return Trial(seed, train, members, drawn["nonmembers"].causal(), planted, corpus.validation.causal(),
                 corpus.calibration.causal())  # fmt: skip


def _draw(rows: text.Rows, order: np.ndarray, needed: dict[str, int]) -> tuple[dict[str, text.Rows], np.ndarray]:
    """Takes documents in an order until each part has its rows; returns the parts and the documents that are left.

    The last document of a part may have more rows than are needed: the others are of no part.
    """
    by_document = np.argsort(rows.document, kind="stable")
    starts = np.searchsorted(rows.document[by_document], order)
    sizes = np.searchsorted(rows.document[by_document], order, "right") - starts
    parts, at = {}, 0
    for part, count in needed.items():
        covered = np.cumsum(sizes[at:])
        if not len(covered) or covered[-1] < count:
            raise ValueError(
                f"private text has {len(rows.tokens)} rows in {len(order)} documents; {', '.join(needed)} need "
                f"{sum(needed.values())} rows of different documents. Give more text, or fewer rows."
            )
        last = at + int(np.searchsorted(covered, count)) + 1
        chosen = np.concatenate([by_document[starts[i] : starts[i] + sizes[i]] for i in range(at, last)])
        parts[part], at = rows.take(chosen[:count]), last
    return parts, order[at:]


def _places(document: np.ndarray) -> np.ndarray:
    """Returns how many earlier rows are of the same document, [n].

    >>> _places(np.array([7, 7, 3, 7])).tolist()
    [0, 1, 0, 2]
    """
    order = np.argsort(document, kind="stable")
    _, starts, counts = np.unique(document[order], return_index=True, return_counts=True)
    places = np.empty(len(document), np.int64)
    places[order] = np.arange(len(document)) - np.repeat(starts, counts)
    return places


def _at_most(rows: text.Rows, count: int, seed: int) -> text.Rows:
    """Returns `count` rows in random order, or all of them if there are fewer."""
    order = keys.generator(seed, "memorization", "public rows").permutation(len(rows.tokens))
    return rows.take(order[:count])
