"""The ``ntxent`` command: a table of command modules, and how each of them ends.

A command is a module of :mod:`ntxent.commands`. Its docstring's first line is its help,
``add_arguments(parser)`` declares its options, and ``run(options)`` does it and returns the exit
status; ``run(options, given)`` is told apart which of them were given and not left at their
defaults. What it needs beyond its options it imports when it runs.

A ``ValueError``, ``TypeError`` or ``OSError`` is how this library tells its user what to change:
it ends as one line with exit status 2. So does, with status 1, a ``FloatingPointError``: a training
that got lost. Any other exception is a defect and keeps its traceback.
"""

import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from io import TextIOWrapper
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ntxent import __version__
from ntxent.simclr.train.signals import Terminated

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["main"]

COMMANDS = (
    *("train", "evaluate", "embed", "compare", "export", "data", "presets"),
    *("report", "explore", "diagnose", "analyze", "bounds", "engines"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0; 1 for a training that got lost; 2 for a mistake; 130 for Ctrl-C; 143 for SIGTERM.
    """
    _wait_passively()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets ? for τ, not a traceback
    try:
        commands = {name: import_module(f"ntxent.commands.{name}") for name in COMMANDS}
        parser = _parser(commands)
        choice = parser.instantiate(parser.parse_args(argv))
        run = commands[choice.command].run
        extra = {}
        if "given" in signature(run).parameters:
            extra["given"] = parser.parse_args(argv, defaults=False)[choice.command]
        status: int = run(choice[choice.command], **extra)
    except KeyboardInterrupt as stop:
        return _stop(130, str(stop) or "interrupted")
    except Terminated as stop:
        return _stop(143, stop.message)
    except FloatingPointError as error:
        return _stop(1, f"error: {error}")
    except ModuleNotFoundError as error:
        missing = (error.name or "ntxent").partition(".")[0]
        if missing == "ntxent":
            raise
        return _stop(2, f'{missing} is not installed; run: pip install "ntxent[train]"')
    except (ArgumentError, ValueError, TypeError, OSError) as error:
        return _stop(2, f"error: {error}")
    return status


def _wait_passively() -> None:
    """Threads of OpenMP that wait for each other leave the core to others.

    They spin by default, and on a machine that does anything else as well they then wait for those
    who wait for a core: a step of ResNet-18 took 4 to 11 s on two busy cores, against 2 s. This
    is read when PyTorch loads, and changes no result.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# jsonargparse's words for a value of the wrong type, to be put in the words of our own messages.
_WRONG_TYPE = re.compile(
    r"""Parser key "(.+?)": Expected an? (?:<class '|typing\.)?(.+?)(?:'>)?\. Got value: """
)


def _stop(status: int, message: str) -> int:
    line = " ".join(message.split())
    print("ntxent:", _WRONG_TYPE.sub(r"\1: expected \2, received ", line), file=sys.stderr)
    return status


def _parser(commands: dict[str, ModuleType]) -> "ArgumentParser":
    from jsonargparse import ArgumentParser, set_parsing_settings

    from ntxent.commands._parser import CommandParser

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    settings: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
    parser = ArgumentParser(
        prog="ntxent",
        description="The NT-Xent loss, exact, with proven limits that say what its value means.",
        version=__version__,
        **settings,
    )
    subcommands = parser.add_subcommands(dest="command", title="commands")
    for name, command in commands.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        options = CommandParser(description=summary, **settings)
        command.add_arguments(options)
        subcommands.add_subcommand(name, options, help=summary)
    return parser
