"""Docstrings of public functions teach: every argument is described, and an example runs."""

import importlib
import inspect
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOOKS = ("check", "draw")  # of an exhibit: a Study and its page call them, never a user


def public_values():
    """{(room, name): value} of what each room exports."""
    values = {}
    for path in [*ROOT.glob("gecko_jax/*.py"), *ROOT.glob("gecko_jax/*/__init__.py")]:
        module = importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        )
        defined = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        room = module.__name__.split(".")[-1]
        names = [name for name in getattr(module, "__all__", defined) if name[0] != "_"]
        values |= {(room, name): getattr(module, name) for name in names}
    return values


def public_functions():
    return {key: value for key, value in public_values().items() if inspect.isfunction(value)}


def public_methods():
    """{(room, class, name): the class} of what exported classes define, unless their base has it already."""
    classes = {key: value for key, value in public_values().items() if inspect.isclass(value)}
    return {
        (*key, name): each
        for key, each in classes.items()
        for name, value in vars(each).items()
        if name[0] != "_" and not hasattr(each.__base__, name)
        and (inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod)))
    }


def examples(module):
    """The code of the examples in a module's docstrings."""
    return "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*)$", inspect.getsource(sys.modules[module]), re.M))


def undescribed(function):
    """Arguments that a docstring does not name in its Args: alone, or in a group such as "model, variables: ..."."""
    section = re.search(r"Args:\n(.*?)(\n\n|\n *[A-Z]\w+:\n|\Z)", (function.__doc__ or "") + "\n\n", re.S)
    named = set()
    for group in re.findall(r"^ +(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:", section[1] if section else "", re.M):
        named |= {name.strip("* ") for name in group.split(",")}
    return [name for name in inspect.signature(function).parameters if name not in named]


def test_arguments_are_described():
    lacking = {key: left for key, function in public_functions().items() if (left := undescribed(function))}
    assert not lacking, f"describe these in Args: {lacking}"


def test_each_function_has_an_example():
    lacking = [key for key, function in public_functions().items() if ">>>" not in (function.__doc__ or "")]
    assert not lacking, f"add a doctest: {lacking}"


def test_each_method_is_used_in_an_example_of_its_module():
    lacking = [key for key, each in public_methods().items()
               if key[-1] not in HOOKS and not re.search(rf"\.{key[-1]}\b", examples(each.__module__))]  # fmt: skip
    assert not lacking, f"add a doctest to the method or to its class: {lacking}"


def test_a_method_without_an_example_is_seen():
    assert ("runtime", "JsonLines", "close") in public_methods() and "log.close()" in examples("gecko_jax.runtime")
    assert not re.search(r"\.is_main_process\b", examples("gecko_jax.runtime"))
