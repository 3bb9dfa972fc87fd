"""Command-line flags from a frozen dataclass: one flag a field, its type and help taken from the field.

    @dataclasses.dataclass(frozen=True)
    class Config:
        steps: int = dataclasses.field(metadata={"help": "updates of each model"})

    PRESETS = {"quick": Config(steps=100), "paper": Config(steps=5000)}
    config = flags.parse(flags.define(Config, PRESETS))      # --preset=paper --steps=200

A run's config is a preset, changed by the flags. The library itself reads no flag.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, Union

from absl import flags as absl_flags

from gecko_jax import checks

C = TypeVar("C")


class Setting(NamedTuple):
    """When a field of a config is read.

    Attributes:
      applies: config -> whether anything reads the field under the other settings.
      needs: what it needs to be read; a message quotes it.
    """

    applies: Callable[[Any], bool]
    needs: str


def field(default: Any, help: str, names: Iterable[str] = ()) -> Any:
    """Returns a dataclass field with a flag's help.

    Args:
      default: its value, unless a preset or a flag gives another.
      help: what it is, with its unit.
      names: of the table that its value, or each of its values, comes from; `--help` lists them.
    """
    listed = f": {', '.join(names)}" if names else ""
    return dataclasses.field(default=default, metadata={"help": f"{help}{listed}"})


def idle(config: Any, effects: Mapping[str, Setting]) -> dict[str, str]:
    """Returns the fields that nothing reads under the others: name -> what they would need."""
    return {name: setting.needs for name, setting in effects.items() if not setting.applies(config)}


class Definition(NamedTuple):
    """A command line: the config's class, its presets by name, and absl's flags."""

    config_cls: type
    presets: Mapping[str, Any]
    values: absl_flags.FlagValues


def define(config_cls: type[C], presets: Mapping[str, C], default: str | None = None) -> Definition:
    """Defines `--preset` and one typed flag for each field of a frozen dataclass.

    A field is a bool, int, float, str, Literal, a tuple of these (`tuple[int, ...]`), or one of them `| None`. On the
    command line a tuple is its items between commas, and None is the word none. `metadata={"help": ...}` is the help.

    Args:
      config_cls: a frozen dataclass.
      presets: name -> config.
      default: the preset without `--preset`; None: the first.

    Returns:
      A Definition, for `parse`. It is apart from absl's global flags, so that two experiments can be imported together.

    Raises:
      TypeError: if config_cls is not a frozen dataclass, or a field is of another type.
      ValueError: without presets, or if `default` is not one of them.
    """
    if not (dataclasses.is_dataclass(config_cls) and config_cls.__dataclass_params__.frozen):
        raise TypeError(f"config_cls={config_cls!r} must be a frozen dataclass: @dataclasses.dataclass(frozen=True).")
    checks.not_empty("presets", presets)
    default = checks.one_of("default", next(iter(presets)) if default is None else default, presets)
    values = absl_flags.FlagValues()
    settings = {"flag_values": values, "module_name": "flags"}
    absl_flags.DEFINE_enum("preset", default, list(presets), "the settings that the other flags change", **settings)
    absl_flags.DEFINE_bool("help", False, "show this help", short_name="h", **settings)
    for name, hint in _hints(config_cls).items():
        parser = _parser(name, hint)
        field_help = config_cls.__dataclass_fields__[name].metadata.get("help", "")
        shown = "; ".join(f"{preset}: {text(getattr(config, name))}" for preset, config in presets.items())
        serializer = absl_flags.ArgumentSerializer()
        described = f"{field_help} [{shown}]".strip()
        flag = absl_flags.Flag(parser, serializer, name, None, described, boolean=isinstance(parser, _Boolean))
        absl_flags.DEFINE_flag(flag, **settings)
    return Definition(config_cls, presets, values)


def add_switch(definition: Definition, name: str, help: str) -> None:
    """Adds a flag, off by default, that is not a setting: it changes what a command does, and not what a run gives.

    Args:
      definition: from `define`.
      name: of the flag.
      help: what it does.
    """
    absl_flags.DEFINE_bool(name, False, help, flag_values=definition.values, module_name="flags")


def parse(definition: Definition, argv: Sequence[str] | None = None) -> Any:
    """Returns the preset, its fields changed by the flags.

    `--help` prints the flags and exits with 0; a bad flag prints absl's message and exits with 1; `--flagfile=path`
    reads flags from a file. A ValueError of the config's own `__post_init__` is shown as a bad flag is.

    Args:
      definition: from `define`.
      argv: the program's name and its arguments; None: sys.argv.

    Returns:
      A config of the definition's class.
    """
    argv = list(sys.argv if argv is None else argv)
    config_cls, presets, values = definition
    values.unparse_flags()
    try:
        rest = values(argv)[1:]
        if values.help:
            _print_help(argv[0], values)
            raise SystemExit(0)
        if rest:
            raise absl_flags.Error(f"Unexpected argument {rest[0]!r}: settings are given as --name=value.")
        changes = {name: values[name].value for name in _hints(config_cls) if values[name].present}
        if changes.get("output") == "":  # as an unset variable of a shell makes it
            raise ValueError("--output= names no folder. Name one; --output=. is the folder that you are in.")
        config = dataclasses.replace(presets[values.preset], **changes)
        _refuse_idle(config, presets[values.preset], changes)
        return config
    except (absl_flags.Error, ValueError) as error:
        print(f"FATAL Flags parsing error:\n  {error}\nPass --help to see the flags.", file=sys.stderr)
        raise SystemExit(1) from None


def _refuse_idle(config: Any, preset: Any, changes: Mapping[str, Any]) -> None:
    """Raises ValueError for a flag that nothing would read: recorded, it would look as if it had been tried."""
    needs = config.idle() if hasattr(config, "idle") else {}
    for name, value in changes.items():
        if name in needs and value != getattr(preset, name):
            raise ValueError(f"--{name}={text(value)} has no effect here: it needs {needs[name]}. Leave it out.")


def to_dict(config: Any) -> dict[str, Any]:
    """Converts a config to a dictionary of JSON types, which a run records; `from_dict` is the inverse."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_dict(config_cls: type[C], values: Mapping[str, Any]) -> C:
    """Returns the config from what `to_dict` made of it.

    Raises:
      ValueError: for a field that the class does not have, a missing field without a default, or a value of another
        type than its field's.
    """
    hints = _hints(config_cls)
    for name, value in values.items():
        hint = hints[checks.one_of("field", name, hints)]
        if not _fits(hint, value):
            raise ValueError(f"field {name}={value!r} is a {type(value).__name__}; expected {hint}.")
    empty = dataclasses.MISSING
    lacking = [f.name for f in dataclasses.fields(config_cls) if f.default is empty and f.default_factory is empty]
    lacking = [name for name in lacking if name not in values]
    if lacking:
        raise ValueError(f"values lacks {', '.join(lacking)}; {config_cls.__name__} has no default for it.")
    return config_cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _hints(config_cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(config_cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_cls) if field.init}


def _fits(hint: Any, value: Any) -> bool:
    """Tells whether a value of JSON's types is one of a field's."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(arguments[0], item) for item in value)
    if origin in (Union, types.UnionType):
        return any(value is None if each is type(None) else _fits(each, value) for each in arguments)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def text(value: Any) -> str:
    """Returns a value as the command line spells it.

    >>> text((8, 4)), text(None), text(True)
    ('8,4', 'none', 'true')
    """
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(text(item) for item in value) if value else "()"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Boolean(absl_flags.BooleanParser):
    """absl's parser of true and false, which may also take the word none."""

    def __init__(self, optional: bool):
        super().__init__()
        self.optional = optional

    def parse(self, argument: str | int) -> Any:
        if self.optional and isinstance(argument, str) and argument.lower() == "none":
            return None
        return super().parse(argument)


class _Choice(absl_flags.ArgumentParser):
    """The values of a Literal, whatever their type."""

    def __init__(self, choices: tuple[Any, ...]):
        self.choices = {text(choice): choice for choice in choices}
        self.syntactic_help = f"<{'|'.join(self.choices)}>"

    def parse(self, argument: str) -> Any:
        if argument not in self.choices:
            raise ValueError(f"value should be one of {self.syntactic_help}")
        return self.choices[argument]


class _Optional(absl_flags.ArgumentParser):
    """Another parser's values, or None for the word none."""

    def __init__(self, inner: absl_flags.ArgumentParser):
        self.inner = inner
        self.syntactic_help = f"{inner.syntactic_help}, or none".lstrip(", ")

    def parse(self, argument: str) -> Any:
        return None if argument.lower() == "none" else self.inner.parse(argument)


class _Tuple(absl_flags.ArgumentParser):
    """Another parser's values between commas, in parentheses or not; nothing is the empty tuple."""

    def __init__(self, inner: absl_flags.ArgumentParser):
        self.inner = inner
        self.syntactic_help = f"a comma-separated list; each item {inner.syntactic_help or 'a string'}"

    def parse(self, argument: str) -> tuple[Any, ...]:
        argument = argument.strip()
        if argument.startswith("(") and argument.endswith(")"):  # as Python, and so our messages, spell it
            argument = argument[1:-1].strip().removesuffix(",")
        return tuple(self.inner.parse(item.strip()) for item in argument.split(",")) if argument else ()


def _parser(name: str, hint: Any) -> absl_flags.ArgumentParser:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return _Boolean(False)
    plain = {int: absl_flags.IntegerParser, float: absl_flags.FloatParser, str: absl_flags.ArgumentParser}
    if hint in plain:
        return plain[hint]()
    if origin is Literal:
        return _Choice(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _Tuple(_parser(name, arguments[0]))
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _Boolean(True) if inner is bool else _Optional(_parser(name, inner))
    raise TypeError(
        f"field {name!r} is of type {hint}, which flags do not support;"
        " use bool, int, float, str, Literal, tuple[X, ...] or one of them | None."
    )


def _print_help(program: str, values: absl_flags.FlagValues) -> None:
    about = sys.modules["__main__"].__doc__
    print(
        "\n".join(part for part in (about and about.strip(), f"\nusage: {program} [flags]", values.get_help()) if part)
    )
