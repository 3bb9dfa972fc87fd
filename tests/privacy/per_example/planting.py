"""Plants a bug: tests that replace a line of the library by a faulty one, to see that some check fails."""

from __future__ import annotations

import inspect
import sys
import textwrap
from types import FunctionType


def plant(monkeypatch, module, name, line, planted):
    """Replaces a function or a class, wherever it was imported to, by one with a line of its source replaced."""
    original = getattr(module, name)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(line) == 1, f"{module.__name__}.{name} has {line!r} {source.count(line)} times, not once"
    scope = dict(vars(module))
    exec(compile(source.replace(line, planted), f"<{name}, planted>", "exec"), scope)
    users = [vars(user) for path, user in sys.modules.items() if path.startswith(("gecko_jax", "test_"))]
    functions = [value for user in users for value in user.values() if isinstance(value, FunctionType)]
    defaults = [function.__kwdefaults__ or {} for function in functions]
    for user in (*users, *defaults):
        for key in [key for key, value in user.items() if value is original]:
            monkeypatch.setitem(user, key, scope[name])
