"""Docstrings of public functions teach: every argument is described, and an example runs. What lacks may only fall."""

import importlib
import inspect
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
# room -> how many public functions; lower a number when you have mended some, never raise one
MAX_WITHOUT_ARGUMENTS = {}
MAX_WITHOUT_EXAMPLE = {
    "audit": 2,
    "clippings": 1,
    "digests": 2,
    "files": 4,
    "hooks": 1,
    "metrics": 8,
    "models": 2,
    "privacy": 2,
    "probes": 3,
    "programs": 1,
    "reports": 6,
    "runtime": 1,
    "surroundings": 2,
    "trees": 1,
}


def public_functions():
    """{(room, name): function} of what each room exports."""
    functions = {}
    for path in [*ROOT.glob("gecko_jax/*.py"), *ROOT.glob("gecko_jax/*/__init__.py")]:
        module = importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        )
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        room = module.__name__.split(".")[-1]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if inspect.isfunction(value) and not name.startswith("_"):
                functions[room, name] = value
    return functions


def undescribed(function):
    """Arguments that a docstring does not name in its Args: alone, or in a group such as "model, variables: ..."."""
    section = re.search(r"Args:\n(.*?)(\n\n|\n *[A-Z]\w+:\n|\Z)", (function.__doc__ or "") + "\n\n", re.S)
    named = set()
    for group in re.findall(r"^ +((?:\*{0,2}\w+(?:, )?)+)(?: \([^)]*\))?:", section[1] if section else "", re.M):
        named |= {name.strip("* ") for name in group.split(",")}
    return [name for name in inspect.signature(function).parameters if name not in named]


def test_arguments_are_described():
    lacking = {key: left for key, function in public_functions().items() if (left := undescribed(function))}
    check(lacking, MAX_WITHOUT_ARGUMENTS, "describe these in Args")


def test_examples_run():
    functions = public_functions().items()
    check(
        {key: 0 for key, function in functions if ">>>" not in (function.__doc__ or "")},
        MAX_WITHOUT_EXAMPLE,
        "add a doctest",
    )


def check(lacking, allowed, what):
    rooms = {room: [name for each, name in lacking if each == room] for room, _ in lacking}
    worse = {room: names for room, names in rooms.items() if len(names) > allowed.get(room, 0)}
    assert not worse, f"{what}: {worse}"
