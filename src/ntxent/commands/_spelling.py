"""Names on the command line: either spelling of an option, and what a mistyped name is near to."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["nearest", "option_names", "spelled", "with_suggestion"]

# The sentences that refuse a name and list those there are: argparse's, jsonargparse's, and ours.
_REFUSED = (
    r"invalid choice: '(?P<name>.*?)' \(choose from (?P<known>.*)\)",
    r"expected Literal\[(?P<known>.*?)\], received (?P<name>\S+)",
    r"received '(?P<name>[^']*)', expected (?:one|some) of (?P<known>.*)",
    r"\w+='(?P<name>[^']*)': expected one of (?P<known>.*)",
)


def option_names(parser: ArgumentParser) -> list[str]:
    """Returns the long options of a parser, such as ``--batch_size``."""
    # argparse has no public list of them.
    return [name for name in parser._option_string_actions if name.startswith("--")]


def spelled(words: Sequence[str], known: Sequence[str], command: str) -> list[str]:
    """Returns the words of a command line with every long option as the parser spells it.

    Dashes and underscores in the name of an option mean the same.

    >>> spelled(["--data.image-size=8", "--fail_on", "nan"], ["--data.image_size", "--fail-on"], "")
    ['--data.image_size=8', '--fail-on', 'nan']

    Raises:
        ValueError: an option is not known; the message names the nearest.
    """
    spelling = {_plain(name): name for name in known}
    result: list[str] = []
    for place, word in enumerate(words):
        if word == "--":  # nothing after it is an option
            return [*result, *words[place:]]
        option, equals, value = word.partition("=")
        result.append(
            _spelled_option(option, spelling, command) + equals + value
            if option.startswith("--")
            else word
        )
    return result


def _spelled_option(option: str, spelling: dict[str, str], command: str) -> str:
    name, plus = option.removesuffix("+"), option[len(option.removesuffix("+")) :]
    parts = name.split(".")
    for count in range(len(parts), 0, -1):  # --data.arguments.key is an item of --data.arguments
        found = spelling.get(_plain(".".join(parts[:count])))
        if found is not None and (count == len(parts) or not _is_group(found, spelling)):
            return ".".join([found, *parts[count:]]) + plus
    near = nearest(name, list(spelling.values()))
    remedy = f"did you mean {near}? " if near else ""
    raise ValueError(
        f"{option}: {command} has no such option; {remedy}{command} --help lists them all"
    )


def _is_group(option: str, spelling: dict[str, str]) -> bool:
    return any(name.startswith(f"{_plain(option)}.") for name in spelling)


def _plain(option: str) -> str:
    return option[:2] + option[2:].replace("-", "_")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that a mistyped one is nearest to, None where no one is near.

    A name without its group, and the beginning of a name, are near to the whole one.

    >>> nearest("--lr", ["--name", "--optimizer.lr"]), nearest("--temp", ["--temperature"])
    ('--optimizer.lr', '--temperature')
    >>> nearest("trian", ["train", "data"])
    'train'
    """
    wanted = _plain(name.lower()).lstrip("-")
    whole = {_plain(each.lower()).lstrip("-"): each for each in known}
    last = {each.rpartition(".")[2]: full for each, full in whole.items()}
    if wanted in last:
        return last[wanted]
    begun = [each for each in (*whole, *last) if each.startswith(wanted)]
    close = begun or get_close_matches(wanted, [*whole, *last])
    return (last | whole)[close[0]] if close else None


def with_suggestion(message: str) -> str:
    """Returns a message that refuses a name and lists the known ones, with the nearest of them.

    >>> with_suggestion("sort: received 'los', expected one of position, loss")
    "sort: received 'los', expected one of position, loss; did you mean loss?"
    """
    if "did you mean" in message:
        return message
    for pattern in _REFUSED:
        refused = re.search(pattern, message)
        if refused is not None:
            near = nearest(refused["name"].strip("'"), re.findall(r"[\w.-]+", refused["known"]))
            return f"{message}; did you mean {near}?" if near else message
    return message
