"""The parser of a command's options."""

from typing import Any

from jsonargparse import ArgumentParser

__all__ = ["CommandParser"]


class CommandParser(ArgumentParser):
    """A parser in which ``--overwrite`` alone stands for ``--overwrite true``."""

    # jsonargparse gives its argument groups the same method.
    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        action = super().add_argument(*args, **kwargs)
        if isinstance(action.default, bool) and action.nargs is None:
            action.nargs, action.const = "?", True
        return action
