"""The library stays short, flat and free of copies: file lengths, a room's files, repeated code, parameters."""

import ast
import importlib
import inspect
import pathlib
import re
import statistics
from collections import defaultdict

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gecko_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_MEDIAN_LINES = 250, 100
MAX_FILES_IN_AUDIT = 12  # at its top
SHARED_LINES = 6  # a run of equal lines of code in two places that counts as a copy
MAX_PARAMETERS = 8  # of a function that no room exports
# What is still above a bound, and by how much at most; these tables only lose entries.
TOO_LONG = {}
TOO_MANY: dict[str, int] = {}


LISTED = re.compile(r"#.*|\"\w+\"(: \w+)?,")  # a comment, or an entry of a table or of __all__


def code_lines(source):
    """[(line number, text)] of lines that compute something: no docstring, comment, import, listing or bracket."""
    skipped = set()
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, False)
        if documented:
            skipped.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            skipped.update(range(node.lineno, node.end_lineno + 1))
    lines = ((number, line.split("  #")[0].strip()) for number, line in enumerate(source.splitlines(), 1))
    return [(n, text) for n, text in lines
            if n not in skipped and not LISTED.fullmatch(text) and any(c.isalnum() for c in text)]  # fmt: skip


def copies(sources):
    """Places, [(name, first line), ...] each, of runs of SHARED_LINES equal lines; a longer run is told once."""
    places = defaultdict(list)
    for name, source in sources.items():
        lines = code_lines(source)
        for i in range(len(lines) - SHARED_LINES + 1):
            places[tuple(text for _, text in lines[i : i + SHARED_LINES])].append((name, lines[i][0]))
    repeats, last = [], None
    for where in places.values():
        if len(where) > 1:
            if last is None or [name for name, _ in last] != [name for name, _ in where]:
                repeats.append(where)
            last = where
        else:
            last = None
    return repeats


def exported():
    """The functions that users call: what a room lists, or defines if it is one file."""
    functions = set()
    for path in [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("*/*/__init__.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        values = [getattr(module, name) for name in names]
        values += [method for value in values if inspect.isclass(value) for method in vars(value).values()]
        functions |= {inspect.unwrap(value).__code__ for value in values if inspect.isfunction(inspect.unwrap(value))}
    return {(code.co_filename, code.co_firstlineno) for code in functions}


def test_files_are_short():
    lengths = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in FILES}
    long = {name: length for name, length in lengths.items() if length > TOO_LONG.get(name, MAX_LINES)}
    assert not long, f"more than {MAX_LINES} lines: usually a file of two things"
    assert statistics.median(lengths.values()) <= MAX_MEDIAN_LINES


def test_audit_has_few_files_at_its_top():
    files = [path.name for path in (PACKAGE / "audit").glob("*.py")]
    assert len(files) <= MAX_FILES_IN_AUDIT, f"move some of {sorted(files)} into audit's rooms"


def test_no_code_stands_in_two_places():
    repeats = copies({path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES})
    assert not repeats, f"{SHARED_LINES} or more equal lines of code: call one function instead. {repeats}"


def test_inner_functions_take_few_parameters():
    public, found = exported(), []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([name for name in names if name not in ("self", "cls")])
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if (
                    count > TOO_MANY.get(node.name, MAX_PARAMETERS)
                    and not {(str(path), node.lineno), (str(path), first)} & public
                ):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {count}")
    assert not found, f"more than {MAX_PARAMETERS} parameters: group them in a record that names a concept. {found}"


TWO = {
    "a.py": '"""One."""\nimport os\n\n\ndef f(x):\n    """Two."""\n' + "\n".join(f"    x{i} = {i}" for i in range(6)),
    "b.py": "def g(y):\n" + "\n".join(f"    x{i} = {i}  # why\n" for i in range(6)) + "    return x1\n",
}


@pytest.mark.parametrize("lines, count", [(6, 1), (5, 0)])
def test_a_copy_is_seen(lines, count):
    changed = TWO["b.py"] if lines == 6 else TWO["b.py"].replace("x3 = 3", "x3 = 4")
    assert len(copies(TWO | {"b.py": changed})) == count
