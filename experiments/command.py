"""Runs a command as a user sees it: an error is a message on standard error and an exit status, never a traceback.

    0  done    1  a bad argument or file    130  Ctrl-C    141  the reader of the output has closed it (`| head`)

GECKO_JAX_TRACEBACK=1 shows where an error comes from, so that it can be reported.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTED, OUTPUT_CLOSED = 130, 141  # 128 + the number of the signal, as shells report it
HELP = ("-h", "-help", "--help", "-helpfull", "--helpfull", "-helpshort", "--helpshort", "-?", "--?")


@contextlib.contextmanager
def reported(name: str) -> Iterator[None]:
    """Ends the program with a message if its body fails on the user's input.

    Args:
      name: of the command; begins each message.

    Raises:
      SystemExit: for Ctrl-C, a closed output, and errors of arguments, files and figures. Other
        errors are faults of the program and keep their traceback.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # a closed pipe is noticed here, and not when the interpreter shuts down
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; the same command goes on from its last checkpoint.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # what replaces a terminal may have no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(OUTPUT_CLOSED) from None
    except Exception as error:
        if os.environ.get("GECKO_JAX_TRACEBACK") or not _expected(error):
            raise
        raise SystemExit(f"{name}: {str(error) or type(error).__name__}") from error


def absl_main(name: str, run: Callable[[], Any]) -> None:
    """Runs `app.run(main)` of a script whose flags are absl's own; `--help` ends with 0, although absl ends with 1."""
    with reported(name):
        try:
            run()
        except SystemExit as end:
            if end.code == 1 and any(argument in HELP for argument in sys.argv[1:]):
                raise SystemExit(0) from None
            raise


def _expected(error: Exception) -> bool:
    """Tells whether an error is about arguments, files or memory, or a loss that was not finite."""
    from absl import app

    if isinstance(error, app.UsageError):
        return True
    refusals = ("NotFinite", "ClaimRefuted")  # by name: the rooms that define them take seconds to import
    kinds = (OSError, ValueError, RuntimeError, MemoryError, ImportError)
    return isinstance(error, kinds) or type(error).__name__ in refusals
