"""The ``ntxent`` command.

A command is a function: its parameters are the options, its docstring is the help, and what it
needs beyond the configuration is imported when it runs. ``COMMANDS`` lists them.

A ``ValueError`` or ``OSError`` is how this library tells its user what to change: it ends as one
line with exit status 2. Any other exception is a defect and keeps its traceback.
"""

import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ntxent import __version__
from ntxent.simclr import TrainConfig

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["main"]


def _train(**options: Any) -> None:
    """Train SimCLR on the digits, evaluate the encoder, keep all of it in a run folder."""
    config = TrainConfig(**options)

    from rich.console import Console

    from ntxent.simclr.tables import show
    from ntxent.simclr.training import train

    show(*train(config), Console())


def _engines(json: bool = False) -> None:
    """List the engines that compute the loss, and why one cannot be used here.

    Args:
        json: Print JSON instead of a table.
    """
    from ntxent.engines import status

    records = status()
    if json:
        from json import dumps

        print(dumps([asdict(record) for record in records], indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "available", "devices", "priority", "reason")
    for engine in records:
        devices = ", ".join(engine.devices).replace("*", "any")
        priority = "" if engine.priority is None else str(engine.priority)
        available = "yes" if engine.available else "no"
        table.add_row(engine.name, available, devices, priority, engine.reason)
    Console().print(table)


# jsonargparse looks for a function's name in the parent package too, where ``engines`` would load
# PyTorch: hence the underscores.
COMMANDS: dict[str, Callable[..., None]] = {"train": _train, "engines": _engines}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, 2 for a mistake in it, 130 for Ctrl-C."""
    try:
        parser = _parser()
        choice = parser.instantiate(parser.parse_args(argv))
        options = choice[choice.command].as_dict()
        options.pop("config")
        COMMANDS[choice.command](**options)
    except KeyboardInterrupt:
        return _stop(130, "interrupted")
    except ModuleNotFoundError as error:
        missing = (error.name or "ntxent").partition(".")[0]
        if missing == "ntxent":
            raise
        return _stop(2, f'{missing} is not installed; run: pip install "ntxent[train]"')
    except (ArgumentError, ValueError, OSError) as error:
        return _stop(2, f"error: {error}")
    return 0


# jsonargparse's words for a value of the wrong type, to be put in the words of our own messages.
_WRONG_TYPE = re.compile(
    r"""Parser key "(.+?)": Expected an? (?:<class '|typing\.)?(.+?)(?:'>)?\. Got value: """
)


def _stop(status: int, message: str) -> int:
    line = " ".join(message.split())
    print("ntxent:", _WRONG_TYPE.sub(r"\1: expected \2, received ", line), file=sys.stderr)
    return status


def _parser() -> "ArgumentParser":
    from jsonargparse import ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    settings: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
    parser = ArgumentParser(
        prog="ntxent",
        description="The NT-Xent loss, exact, with proven limits that say what its value means.",
        version=__version__,
        **settings,
    )
    commands = parser.add_subcommands(dest="command", title="commands")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        options = ArgumentParser(description=summary, **settings)
        options.add_argument("--config", action="config", help="YAML file of options.")
        options.add_function_arguments(command, as_group=False)
        for action in options._actions:
            if isinstance(action.default, bool):
                action.nargs, action.const = "?", True  # --overwrite alone is --overwrite true
        commands.add_subcommand(name, options, help=summary)
    return parser
