"""The ``ntxent`` command: a table of command modules, and how each of them ends.

A command is a module of :mod:`ntxent.commands`. The first line of its docstring is its help,
``add_arguments(parser)`` declares its options, and ``run(options)`` runs it and returns the exit
status; ``run(options, given)`` also receives the options that were given, without defaults. What
it needs beyond its options it imports in ``run``.

A ``ValueError``, ``TypeError`` or ``OSError`` says what the user can change: it is printed as one
line, and the exit status is 2. A ``FloatingPointError``, raised where a loss or a weight is not
finite, is printed in the same way, with status 1. Any other exception is a defect and keeps its
traceback.
"""

import argparse
import ast
import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ntxent import __version__
from ntxent.commands._spelling import nearest, option_names, spelled, with_suggestion

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["main"]

COMMANDS = (
    *("train", "evaluate", "embed", "compare", "export", "data", "presets"),
    *("report", "explore", "diagnose", "watch", "analyze", "bounds", "engines"),
)
# These answer on the plain install, without PyTorch and at once.
CORE = ("diagnose", "watch", "bounds")
DESCRIPTION = "The NT-Xent loss, exact, with proven limits that say what its value means."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    0; 1 where a training diverged; 2 for a mistake; 3 for what --fail-on names; 130 for Ctrl-C;
    143 for SIGTERM.
    """
    _wait_passively()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets ? for τ, not a traceback
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        name = _command(words)
        status = (_run_core if name in CORE else _run)(name, words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has seen enough; Python would complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        return _stop(130, str(stop) or "interrupted")
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


class _Parser(argparse.ArgumentParser):
    """argparse, whose mistakes are raised like all others."""

    def error(self, message: str) -> NoReturn:
        wrong = re.match(r"argument (?:\S+/)?--(\S+): invalid (\w+) value: (.*)", message)
        if wrong is not None:
            name, kind, value = wrong.groups()
            message = f"{name.replace('-', '_')}: expected {kind}, received {value}"
        raise ValueError(message)


def _command(words: list[str]) -> str:
    """The command that a line begins with; help and version end here."""
    if words and words[0] in COMMANDS:
        return words[0]
    if words and words[0] and not words[0].startswith("-"):
        near = nearest(words[0], COMMANDS)
        remedy = f"did you mean {near}? " if near else ""
        raise ValueError(
            f"received {words[0]!r}, which is no command; {remedy}ntxent --help lists them all"
        )
    parser = _Parser(prog="ntxent", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    for name in COMMANDS:
        commands.add_parser(name, help=_summary(name), add_help=False)
    first = [word for word in words[:1] if word]
    parser.parse_args(spelled(first, option_names(parser), "ntxent"))
    raise ValueError(f"expected one of {{{','.join(COMMANDS)}}}; ntxent --help says what they do")


def _summary(name: str) -> str:
    """The first line of a command's docstring, for which nothing is imported."""
    source = Path(__file__).with_name("commands") / f"{name}.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _run_core(name: str, words: list[str]) -> int:
    command = import_module(f"ntxent.commands.{name}")
    parser = _Parser(prog=f"ntxent {name}", description=_summary(name), allow_abbrev=False)
    command.add_arguments(parser)
    words = spelled(words, option_names(parser), parser.prog)
    status: int = command.run(parser.parse_args(words))
    return status


def _run(name: str, words: list[str]) -> int:
    from ntxent.simclr.train.signals import Terminated

    command = import_module(f"ntxent.commands.{name}")
    parser, known = _parser(name, command)
    words = spelled(words, known, f"ntxent {name}")
    try:
        choice = parser.instantiate(_parsed(parser, [name, *words], known))
        extra = {}
        if "given" in signature(command.run).parameters:
            extra["given"] = parser.parse_args([name, *words], defaults=False)[name]
        status: int = command.run(choice[name], **extra)
    except Terminated as stop:
        return _stop(143, stop.message)
    return status


def _parsed(parser: "ArgumentParser", words: list[str], known: list[str]) -> Any:
    try:
        return parser.parse_args(words)
    except ArgumentError as error:
        # of a file that --config names
        refused = re.search(r"does not accept option '(.+?)'", str(error))
        near = nearest(refused[1], known) if refused else None
        if near is None:
            raise
        raise ValueError(f"{error}; did you mean {near.removeprefix('--')}?") from error


def _wait_passively() -> None:
    """Lets threads of OpenMP sleep, not spin, while they wait for each other.

    On a busy machine, threads that spin take the cores from those that they wait for: a step of
    ResNet-18 took 4 to 11 s on two busy cores, and 2 s with threads that sleep. PyTorch reads the
    variable when it is loaded; results do not depend on it.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# jsonargparse's words for a value of the wrong type, to be put in the words of our own messages.
_WRONG_TYPE = re.compile(
    r"""Parser key "(.+?)": Expected an? (?:<class '|typing\.)?(.+?)(?:'>)?\. Got value: """
)


def _stop(status: int, message: str) -> int:
    line = " ".join(message.split())
    line = with_suggestion(_WRONG_TYPE.sub(r"\1: expected \2, received ", line))
    print("ntxent:", line, file=sys.stderr)
    return status


def _parser(name: str, command: ModuleType) -> tuple["ArgumentParser", list[str]]:
    """The parser of a command line, and the options of its command."""
    from jsonargparse import ArgumentParser, set_parsing_settings

    from ntxent.commands._parser import CommandParser

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    settings: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
    parser = ArgumentParser(prog="ntxent", description=DESCRIPTION, **settings)
    subcommands = parser.add_subcommands(dest="command", title="commands")
    summary = _summary(name)
    options = CommandParser(description=summary, **settings)
    command.add_arguments(options)
    subcommands.add_subcommand(name, options, help=summary)
    return parser, option_names(options)
