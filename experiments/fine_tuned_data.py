"""The texts of one fine-tuned language model: private ones, public ones, and the rows that they are cut into."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.fine_tuned_config import NOTES, Config
from gecko_jax import datasets
from gecko_jax.datasets import text

VALIDATION = 0.1  # share of the documents that no model is fine-tuned on
PRIVATE_SEED, PUBLIC_SEED = 0, 1  # of the made-up notes
PUBLIC_DEPARTMENTS, PRIVATE_DEPARTMENTS = ("cardiology", "dermatology"), ("orthopedics", "pediatrics")
SMALL_PUBLIC_TEXT = 100_000  # characters


class Parts(NamedTuple):
    """The private documents of a run.

    Attributes:
      pool: that members are drawn from, sorted by id.
      validation: that no model is fine-tuned on.
      member: bool [m, d], which documents of the pool each model is fine-tuned on.
      warnings: what the texts suffer from.
    """

    pool: text.Documents
    validation: text.Documents
    member: np.ndarray
    warnings: list[str]


class Texts(NamedTuple):
    """Rows of a run.

    Attributes:
      rows: that members are drawn from.
      validation: rows of other documents.
      member: bool [m, n], who is trained on; all rows of a document, or none.
      warnings: what the texts suffer from.
    """

    rows: text.Rows
    validation: text.Rows
    member: np.ndarray
    warnings: list[str]


def public_documents(config: Config) -> text.Documents:
    """Reads the texts that the base and its tokenizer learn from."""
    if config.public == NOTES:
        return text.notes(config.pretrain_notes, seed=PUBLIC_SEED, departments=PUBLIC_DEPARTMENTS)
    if config.public in text.PACKAGES:
        package = text.PACKAGES[config.public]
        if not package.is_public:
            raise ValueError(f"public={config.public!r} is {package.terms}; pre-train on another package.")
        return text.load_package(config.public, config.data_dir)
    path = Path(config.public)
    if path.is_dir():
        return text.from_folder(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"public={config.public!r} is not a file or folder, and not one of {NOTES}, {', '.join(text.PACKAGES)}."
        )
    if path.suffix == ".jsonl":
        return text.from_json_lines(path)
    try:
        return text.from_texts([text.read_text(path)])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def private_documents(config: Config, public: text.Documents | None) -> text.Documents:
    """Reads the texts that are fine-tuned on; cleaned, without lines that are public, if the config says so."""
    if config.data == NOTES:
        return text.notes(config.notes, seed=PRIVATE_SEED, departments=PRIVATE_DEPARTMENTS)
    if not Path(config.data).is_file():
        raise FileNotFoundError(
            f"data={config.data!r} is not a file; expected one of JSON lines, or {NOTES}, made-up clinical notes."
        )
    documents = text.from_json_lines(config.data, config.text, config.user, config.time, encoding=config.encoding)
    return text.deduplicate(text.clean(documents), against=public) if config.clean else documents


def parts(config: Config, public: text.Documents | None) -> Parts:
    """Reads the private texts, splits them by document, and draws who is a member: all that needs no tokenizer.

    Args:
      config: the settings.
      public: what the base learns from; None if another run has pre-trained it.

    Raises:
      ValueError: a bad file, too few documents, or private texts that are public.
    """
    documents = private_documents(config, public)
    seed = config.seed or 0
    of_part = text.split(documents, {"pool": 1 - VALIDATION, "validation": VALIDATION}, seed)
    pool = of_part["pool"].take(np.argsort(of_part["pool"].id))
    member = datasets.coins(pool.id, config.models, seed, config.member_rate)
    if not (member.any(1) & ~member.all(1)).all():
        raise ValueError(
            f"{len(pool.id)} texts are too few: a model has all of them for members, or none. Give more of them."
        )
    warnings = [] if public is None else text.check_public(public, documents)
    warnings += text.check_split(pool.take(member[0]), pool.take(~member[0]))
    if config.data == NOTES:  # whose sentences repeat as a form's do, which is not a fault of a split
        warnings = [warning for warning in warnings if "long lines" not in warning]
    elif public is not None and config.public == NOTES:
        warnings.append(
            "the base is pre-trained on made-up clinical notes alone and knows nothing of other texts: name texts of "
            "your own field, --public=books.txt, or a base, --base=FOLDER."
        )
    elif public is not None and sum(map(len, public.text)) < SMALL_PUBLIC_TEXT:
        warnings.append(
            f"{config.public} holds {sum(map(len, public.text)):,} characters; a base learns a language from some "
            "million: --public takes a folder, too."
        )
    return Parts(pool, of_part["validation"], member, warnings)


def cut(config: Config, documents: Parts, tokenizer: text.Tokenizer) -> Texts:
    """Cuts documents into rows of the base's tokens.

    Raises:
      ValueError: a model without members or non-members that have a row.
    """
    rows, validation = (text.rows(part, tokenizer, config.length) for part in documents[:2])
    member = documents.member[:, np.searchsorted(documents.pool.id, rows.document)]
    if not (member.any(1) & ~member.all(1)).all():
        raise ValueError(f"{len(rows.id)} rows are too few for members and non-members; give longer texts, or more.")
    return Texts(rows, validation, member, documents.warnings)
