"""What holds for every file: its length, no path of one machine, and for every public name: a docstring."""

import importlib
import inspect
import pathlib
import re
from collections.abc import Mapping

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 300

FOLDERS = ("gecko_jax", "experiments", "scripts", "tests", ".ci")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sh"))
TEXTS = SOURCES + sorted(
    path
    for suffix in ("md", "toml", "csv", "lock", "txt", "json")
    for folder in (ROOT, *(ROOT / folder for folder in FOLDERS))
    for path in (folder.glob(f"*.{suffix}") if folder == ROOT else folder.rglob(f"*.{suffix}"))
)
HOMES = re.compile(r"(?<![\w.~])/(home|root|Users|work|opt|mnt)/\w|(?<![\w.~])/tmp/\w|[A-Z]:\\Users")


def name_of(path):
    return str(path.relative_to(ROOT))


def test_there_are_files_to_check():
    assert ROOT / "gecko_jax" / "hooks.py" in SOURCES and ROOT / "pyproject.toml" in TEXTS


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their names alone, and a whole run would end in an error of collection."""
    names = [path.name for path in SOURCES if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines, more than {MAX_LINES}: usually it is two things"


@pytest.mark.parametrize("path", [path for path in TEXTS if path != pathlib.Path(__file__).resolve()], ids=name_of)
def test_no_path_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    paths = [f"line {number}: {line}" for number, line in enumerate(text.splitlines(), 1) if HOMES.search(line)]
    assert not paths, paths


@pytest.mark.parametrize("text, found", [("/home/ann/x", True), ("see /tmp/run1", True), ("~/work/x", False)])
def test_the_path_of_a_machine_is_seen(text, found):
    assert bool(HOMES.search(text)) == found
    assert (
        not HOMES.search("/usr/share/datasets") and not HOMES.search("runs/work/home/x") and not HOMES.search("a/tmp/b")
    )


ROOMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in [*ROOT.glob("gecko_jax/*.py"), *ROOT.glob("gecko_jax/*/__init__.py")]
)


def described(value):
    """Whether a function or a class has a docstring of its own, not the signature that a dataclass is given."""
    text = inspect.getdoc(value) if inspect.isfunction(value) else value.__dict__.get("__doc__")
    return bool(text) and not text.startswith(f"{value.__name__}(")


def public(module):
    """The public names of a room: its __all__, or what it defines itself."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_importable_and_described(room):
    module = importlib.import_module(room)
    assert module.__doc__, f"{room} has no docstring"
    for name, value in public(module).items():
        if inspect.isfunction(value) or inspect.isclass(value):
            assert described(value), f"{room}.{name} has no docstring"


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room.replace(".", "/")).is_dir()])
def test_public_names_are_listed_and_tables_hold_parts(room):
    module = importlib.import_module(room)
    assert hasattr(module, "__all__"), f"{room}/__init__.py lists its public names in __all__"
    assert len(set(module.__all__)) == len(module.__all__), f"{room}.__all__ lists a name twice"
    source = (ROOT / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    assert source.count("\n__all__ = ") == 1, f"{room}/__init__.py sets __all__ twice; the first list is lost"
    for name, value in public(module).items():
        if name.isupper() and isinstance(value, Mapping):
            assert value, f"{room}.{name} is empty"
            assert all(isinstance(key, str) for key in value), f"{room}.{name} is keyed by names"
