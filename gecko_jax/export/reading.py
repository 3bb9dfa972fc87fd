"""Reads an exported folder back: the network that its artifact computes, or a refusal."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from gecko_jax.digests import sha256
from gecko_jax.export.c99 import to_c
from gecko_jax.export.folders import CHECKSUMS, GRAPH
from gecko_jax.export.litert import to_tflite
from gecko_jax.export.onnx_folder import to_onnx
from gecko_jax.files import read_checked
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.graph_file import decode_graph


class Exported(NamedTuple):
    """A network that was read from an exported folder.

    Attributes:
      graph: the network.
      form: "c", "tflite" or "onnx".
      digest: SHA-256 of SHA256SUMS, which names the digests of all other files.
    """

    graph: IntegerGraph
    form: str
    digest: str


def read_exported(folder: str | os.PathLike[str]) -> Exported:
    """Reads the network of a folder that an exporter wrote, after a check that the artifact is that network.

    Each file must have the SHA-256 that SHA256SUMS names, and no source file or model may lie beside them. Then the
    network is exported again, which must give the same bytes: a changed artifact is refused even if its checksums were
    changed with it, and so are its test vectors, which are computed again from the network.

    Args:
      folder: of `to_c`, `to_tflite` or `to_onnx`, with no plan of your own and not in the form QDQ, whose runtime
        computes other codes.

    Returns:
      The network, the form, and a digest of the folder.

    Raises:
      ValueError: a folder that no exporter completed, a file that was changed, removed, damaged or added, or an
        artifact that this version of the library would not write for its network.
      ImportError: without the packages that the folder's exporter needs.
      OSError: a file that cannot be read.

    >>> import numpy as np
    >>> from gecko_jax.integer.nodes import IntegerTensor, MaxPool
    >>> tensors = IntegerTensor("input", (2, 2, 1), 0.1), IntegerTensor("pool", (1, 1, 1), 0.1)
    >>> node = MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0)))
    >>> folder = to_c(IntegerGraph(tensors, (node,), 0, 1), tempfile.mkdtemp())
    >>> exported = read_exported(folder)
    >>> exported.form, exported.graph.nodes[0].path
    ('c', 'pool')
    >>> _ = (folder / "model.c").write_text("int main(void) { return 0; }")
    >>> read_exported(folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: .../model.c is not the file that was written with the others: its SHA-256 is ...
    """
    folder = pathlib.Path(folder)
    if not (folder / CHECKSUMS).is_file():
        raise ValueError(f"{str(folder)!r} has no {CHECKSUMS}: no exporter has completed it. Export the network again.")
    checksums = (folder / CHECKSUMS).read_bytes()
    digests = _digests(checksums, folder)
    contents = {name: _read(folder / name, digest) for name, digest in digests.items()}
    if GRAPH not in contents:
        raise ValueError(f"{str(folder)!r} holds no {GRAPH}: an older version wrote it. Export the network again.")
    strangers = [path.name for path in folder.iterdir() if path.suffix in _SHIPPED and path.name not in digests]
    if strangers:
        raise ValueError(
            f"{str(folder)!r} holds {', '.join(sorted(strangers))}, which {CHECKSUMS} does not name: it may ship "
            "unchecked. Remove what is not of this export, or export to an empty folder."
        )
    form = _form(folder, set(contents))
    graph = decode_graph(contents[GRAPH], str(folder / GRAPH))
    with tempfile.TemporaryDirectory() as temporary:
        again = _EXPORTERS[form](graph, temporary, _name(contents))
        expected = _digests((again / CHECKSUMS).read_bytes(), again)
    differing = sorted(name for name in {*digests, *expected} if digests.get(name) != expected.get(name))
    if differing:
        raise ValueError(
            f"{', '.join(differing)} of {str(folder)!r} is not what this library writes for its {GRAPH}: the folder "
            "was changed, written with a plan of its own, in the form QDQ, or by another version. Export the network "
            "again."
        )
    return Exported(graph, form, sha256(checksums))


_SHIPPED = (".c", ".cc", ".h", ".npy", ".onnx", ".tflite")  # what a build or a runtime would take up; no object files

_EXPORTERS: dict[str, Callable[[IntegerGraph, Any, str], pathlib.Path]] = {
    "c": lambda graph, folder, name: to_c(graph, folder, name),
    "tflite": lambda graph, folder, name: to_tflite(graph, folder),
    "onnx": lambda graph, folder, name: to_onnx(graph, folder),
}


def _digests(checksums: bytes, folder: pathlib.Path) -> dict[str, str]:
    """Returns {file name: SHA-256} of the text of SHA256SUMS."""
    lines = [line.split("  ", 1) for line in checksums.decode(errors="replace").splitlines()]
    if not lines or not all(len(line) == 2 and line[1] == pathlib.Path(line[1]).name for line in lines):
        raise ValueError(f"{str(folder / CHECKSUMS)!r} is damaged: expected lines 'SHA-256  file name'. Export again.")
    return {name: digest for digest, name in lines}


def _read(path: pathlib.Path, digest: str) -> bytes:
    try:
        return read_checked(path, digest)
    except FileNotFoundError:
        raise ValueError(
            f"{str(path)!r} is missing, although {CHECKSUMS} names it. Export the network again."
        ) from None


def _form(folder: pathlib.Path, names: set[str]) -> str:
    forms = [
        form for form, name in (("tflite", "model.tflite"), ("onnx", "model.onnx"), ("c", "Makefile")) if name in names
    ]
    if len(forms) != 1:
        raise ValueError(f"{str(folder)!r} holds no artifact of one exporter. Export the network again.")
    return forms[0]


def _name(contents: dict[str, bytes]) -> str:
    """Returns the name of a network in C: of its file NAME.c beside test.c."""
    return next((name[:-2] for name in contents if name.endswith(".c") and name != "test.c"), "model")
