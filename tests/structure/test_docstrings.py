"""Docstrings of public functions teach: every argument is described, and an example runs."""

import importlib
import inspect
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    assert not lacking, f"describe these in Args: {lacking}"


def test_each_function_has_an_example():
    lacking = [key for key, function in public_functions().items() if ">>>" not in (function.__doc__ or "")]
    assert not lacking, f"add a doctest: {lacking}"
