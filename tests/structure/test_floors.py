"""A room imports lower floors only, never another room on its own floor. Imports inside functions are read too."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gecko_jax"

FLOORS = {
    "ground": "types checks digests extras json_values text_tables",  # they import no room, not each other either
    "0": "convolutions devices files hooks hosts keys runtime surroundings trees user_names",
    "1": "activations clippings compression datasets losses metrics programs quantizers signals",
    "2": "attacks models privacy",
    "3": "integer probes reports training",
    "4": "audit costs encrypted export",
    "5": "defenses",
}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS.values(), start=-1) for room in rooms.split()}

# The library is used by these, and never the other way round. It reads no flag.
OUTSIDE = ("experiments", "scripts", "tests", "absl")


def imports(source: str, package: str) -> list[str]:
    """Dotted names that a file of `package` imports: "gecko_jax.models.create" for `from ..models import create`."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                names.append(node.args[0].value)
    return names


def complaints(room: str, source: str, package: str) -> list[str]:
    """What is wrong with the imports of a file in `room`."""
    if room not in FLOOR:
        return [f"room {room!r} has no floor: add it to FLOORS in tests/structure/test_floors.py"]
    faults = []
    for name in imports(source, package):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top in OUTSIDE:
            faults.append(f"imports {name}: the library never imports {', '.join(OUTSIDE)}")
        elif top == "gecko_jax" and other != room and other != "__version__":
            if other not in FLOOR:
                faults.append(f"imports {name}: import a room by its name, one that is in FLOORS")
            elif FLOOR[other] >= FLOOR[room]:
                faults.append(f"imports {name} of floor {FLOOR[other]}, but {room} is itself on floor {FLOOR[room]}")
    return faults


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_lower_floors_only(path):
    package = ".".join(path.parent.relative_to(ROOT).parts)
    assert complaints(room_of(path), path.read_text(encoding="utf-8"), package) == []


def test_no_room_stands_on_two_floors():
    assert sum(len(rooms.split()) for rooms in FLOORS.values()) == len(FLOOR)


def test_contributing_shows_this_table():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for floor, rooms in FLOORS.items():
        assert f"\n| {floor} | {', '.join(rooms.split())} |\n" in text, f"the row of floor {floor} differs"


def test_every_room_with_a_floor_exists():
    assert set(FLOOR) == {room_of(path) for path in FILES}


def test_the_package_lists_its_rooms():
    import gecko_jax

    there = {room_of(path) for path in FILES}
    listed = set(gecko_jax.__all__) - {"__version__"}
    assert there <= listed, f"add {sorted(there - listed)} to _ROOMS in gecko_jax/__init__.py"


@pytest.mark.parametrize(
    "room, source",
    [
        ("models", "from gecko_jax.training import fit"),
        ("models", "from gecko_jax import training"),
        ("models", "from gecko_jax import checks, privacy"),
        ("models", "import gecko_jax.audit.report as report"),
        ("models", "import gecko_jax"),
        ("models", "def f():\n    from gecko_jax.integer import freeze"),
        ("models", "from ..training import fit"),
        ("models", "from .. import training"),
        ("models", "import importlib\nimportlib.import_module('gecko_jax.training')"),
        ("training", "import gecko_jax.integer.freeze"),
        ("integer", "from gecko_jax.training import fit"),
        ("types", "from gecko_jax import checks"),
        ("checks", "from gecko_jax.types import Model"),
        ("checks", "from gecko_jax.keys import stream"),
        ("keys", "from gecko_jax.trees import take"),
        ("audit", "from absl import flags"),
        ("audit", "import experiments.flags"),
        ("audit", "from gecko_jax.cellar import wine"),
        ("cellar", "import math"),
    ],
)
def test_a_wrong_import_is_seen(room, source):
    assert len(complaints(room, source, f"gecko_jax.{room}")) == 1


@pytest.mark.parametrize(
    "room, source",
    [
        ("models", "from gecko_jax.types import Model\nfrom gecko_jax import checks, keys"),
        ("models", "from gecko_jax.models.linen import from_linen\nfrom . import linen\nfrom .linen import from_linen"),
        ("audit", "from gecko_jax import __version__, attacks\nimport jax\nfrom flax import linen"),
        ("runtime", "import json\nfrom gecko_jax import checks"),
    ],
)
def test_a_right_import_passes(room, source):
    assert complaints(room, source, f"gecko_jax.{room}") == []
