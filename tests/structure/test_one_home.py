"""Each of these things has one home in the library, and every other file calls that one."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("gecko_jax/**/*.py"), *ROOT.glob("experiments/**/*.py"), *ROOT.glob("scripts/**/*.py")])

# what a line must not hold -> (the files that may, what to call instead)
HOMES = {
    r"\bos\.(replace|rename|link)\(|\bmkstemp\b|NamedTemporaryFile": (
        {"gecko_jax/files/writing.py"},
        "files.write_atomic, files.write_together or files.write_secret",
    ),
    r"\bhashlib\b": ({"gecko_jax/digests.py"}, "digests.sha256, digests.array_digest or digests.value_digest"),
    # a word of a random stream, and the checksum that the packed file's format prescribes: neither is a content digest
    r"\bcrc32\(|\badler32\(": ({"gecko_jax/keys.py", "gecko_jax/integer/packed_format.py"}, "digests.array_digest"),
    # the canonical text of a seed's use, which may never change
    r"\bjson\.dumps?\(": ({"gecko_jax/json_values.py", "gecko_jax/keys.py"}, "json_values.dumps"),
}


def strays(pattern: str, homes: set[str], path: str, text: str) -> list[str]:
    """Lines of code that do by hand what has a home; examples in docstrings count, too."""
    if path in homes:
        return []
    return [f"{path}:{number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line.split("#")[0])]  # fmt: skip


@pytest.mark.parametrize("pattern", HOMES)
def test_one_home(pattern):
    homes, instead = HOMES[pattern]
    lines = [line for path in FILES
             for line in strays(pattern, homes, path.relative_to(ROOT).as_posix(), path.read_text())]  # fmt: skip
    assert not lines, f"call {instead}: {lines}"
    for home in homes:
        assert re.search(pattern, (ROOT / home).read_text()), f"{home} no longer needs its exception"


@pytest.mark.parametrize(
    "line", ["os.replace(a, b)", "tempfile.mkstemp()", "import hashlib", "zlib.crc32(b)", "text = json.dumps(x)"]
)
def test_a_second_home_is_seen(line):
    assert any(strays(pattern, homes, "gecko_jax/new.py", line) for pattern, (homes, _) in HOMES.items())
