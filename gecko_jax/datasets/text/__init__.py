"""Text: documents, tokenizers, token rows and splits for language models. NumPy only.

from_texts, from_folder, from_json_lines, from_mbox, from_tfds    your own texts -> Documents
load_package                   public books, manuals and mails that package managers hold
notes                          made-up clinical notes whose secrets are known: no file needed
clean, deduplicate             the author's own words; no line that two documents share
check_split, check_public      what would make an audit meaningless, said before training
canaries                       secrets at random, some of them in the training data: does the model know them?
split(documents, shares)       by document or by author, never by row
bytes_tokenizer, learn_bpe     text -> token ids; byte pairs are learned on public text alone
policies, redact, coverage     which passages are sensitive, the text without them, how many known ones are found
selective_rows                 rows with and without their secrets, for `training.fit_twice`
rows(documents, tokenizer, t)  token rows; `.causal()` and `.masked(seed)` are Examples to train and to audit on
"""

from __future__ import annotations

from gecko_jax.datasets.text import canaries, policies
from gecko_jax.datasets.text.checking import check_public, check_split
from gecko_jax.datasets.text.cleaning import clean, deduplicate, plain_text, select_rows, shared_lines
from gecko_jax.datasets.text.documents import Documents, Span, from_texts, join
from gecko_jax.datasets.text.mails import from_mbox, from_messages
from gecko_jax.datasets.text.notes import notes
from gecko_jax.datasets.text.packages import PACKAGES, Package, load_package, prepare_package
from gecko_jax.datasets.text.redaction import coverage, redact
from gecko_jax.datasets.text.rows import Rows, rows, sensitive_tokens
from gecko_jax.datasets.text.selective import SelectiveRows, selective_rows
from gecko_jax.datasets.text.selective_check import check_rows
from gecko_jax.datasets.text.sources import from_folder, from_json_lines, from_tfds, read_text
from gecko_jax.datasets.text.spans import Policy
from gecko_jax.datasets.text.splitting import split
from gecko_jax.datasets.text.tokenization import (
    Tokenizer,
    bytes_tokenizer,
    from_definition,
    learn_bpe,
    load_tokenizer,
    save_tokenizer,
)

__all__ = [
    "PACKAGES",
    "Documents",
    "Package",
    "Policy",
    "Rows",
    "SelectiveRows",
    "Span",
    "Tokenizer",
    "bytes_tokenizer",
    "canaries",
    "check_public",
    "check_rows",
    "check_split",
    "clean",
    "coverage",
    "deduplicate",
    "from_definition",
    "from_folder",
    "from_json_lines",
    "from_mbox",
    "from_messages",
    "from_texts",
    "from_tfds",
    "join",
    "learn_bpe",
    "load_package",
    "load_tokenizer",
    "notes",
    "plain_text",
    "policies",
    "prepare_package",
    "read_text",
    "redact",
    "rows",
    "save_tokenizer",
    "select_rows",
    "selective_rows",
    "sensitive_tokens",
    "shared_lines",
    "split",
]
