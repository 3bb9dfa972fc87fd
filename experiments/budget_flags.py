"""The flags of budgets that scripts/recommend.py and scripts/compare.py share."""

from __future__ import annotations

from collections.abc import Callable

from absl import app, flags


def define() -> None:
    """Defines --max_bytes and the other limits, and --budget for any column."""
    from gecko_jax.reports.budgets import LIMITS  # here, so that Ctrl-C while it is loaded ends as it does later

    for name, limit in LIMITS.items():
        flags.DEFINE_string(name, None, f"{limit.help}.")
    flags.DEFINE_multi_string("budget", [], "COLUMN=LIMIT for any other column; its better end decides the side.")


def run(main: Callable[[list[str]], None]) -> None:
    """Runs a script's main function with these flags."""
    define()
    app.run(main)


def limits() -> dict[str, str]:
    """Returns the limits that the command line gives: name or column -> quantity."""
    from gecko_jax.reports.budgets import LIMITS

    values = flags.FLAGS.flag_values_dict()
    limits = {name: values[name] for name in LIMITS if values[name] is not None}
    for text in values["budget"]:
        key, separator, limit = text.partition("=")
        if not separator or key in limits:
            raise app.UsageError(f"--budget={text} must be COLUMN=LIMIT, each column once")
        limits[key] = limit
    return limits
