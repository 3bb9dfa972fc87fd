"""Reads an ELF file of a 32-bit processor: what is loaded, the symbols, and the bytes of each section."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import struct

_ALLOCATED = 2  # SHF_ALLOC: the section takes memory on the device
_LOADED = 1  # PT_LOAD


@dataclasses.dataclass(frozen=True)
class Elf:
    """An ELF file.

    Attributes:
      segments: (address, content, size in memory) of what is loaded.
      symbols: name -> address.
      sections: name -> bytes that it takes on the device.

    >>> elf = Elf((), {}, {".text": 900, ".rodata": 4000, ".bss": 256})
    >>> elf.flash(), elf.ram()
    (4900, 256)
    """

    segments: tuple[tuple[int, bytes, int], ...]
    symbols: dict[str, int]
    sections: dict[str, int]

    def flash(self) -> int:
        """Returns the bytes of code, constants and start values."""
        return sum(size for name, size in self.sections.items() if not name.startswith(".bss"))

    def ram(self) -> int:
        """Returns the bytes of static memory."""
        return sum(size for name, size in self.sections.items() if name.startswith((".bss", ".data")))


def read_elf(path: str | os.PathLike[str]) -> Elf:
    """Reads a little-endian ELF file of 32 bits.

    Args:
      path: the file.

    Raises:
      ValueError: a file of another kind.

    >>> read_elf(__file__)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: ...elf.py' is not a little-endian ELF file of 32 bits; it begins with ...
    """
    content = pathlib.Path(path).read_bytes()
    if content[:6] != b"\x7fELF\x01\x01":
        raise ValueError(f"{str(path)!r} is not a little-endian ELF file of 32 bits; it begins with {content[:6]!r}.")
    program_start, section_start = struct.unpack_from("<II", content, 28)
    _, program_count, _, section_count, names_at = struct.unpack_from("<HHHHH", content, 42)
    segments = []
    for i in range(program_count):
        kind, offset, address, _, stored, size = struct.unpack_from("<6I", content, program_start + 32 * i)
        if kind == _LOADED and size:
            segments.append((address, content[offset : offset + stored], size))
    headers = [struct.unpack_from("<10I", content, section_start + 40 * i) for i in range(section_count)]
    names = headers[names_at][4]
    sections: dict[str, int] = {}
    symbols: dict[str, int] = {}
    for name, kind, flags, _, offset, size, link, *_ in headers:
        if flags & _ALLOCATED:
            key = _text(content, names + name)
            sections[key] = sections.get(key, 0) + size
        if kind == 2:  # SHT_SYMTAB
            texts = headers[link][4]
            for at in range(offset, offset + size, 16):
                symbol, value = struct.unpack_from("<II", content, at)
                symbols[_text(content, texts + symbol)] = value
    return Elf(tuple(segments), symbols, sections)


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
