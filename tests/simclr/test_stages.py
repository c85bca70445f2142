"""Stages of work: shown where they take seconds, silent where they do not."""

import time
from io import StringIO

import pytest
from rich.console import Console

from ntxent.simclr import stages
from ntxent.simclr.stages import ConsoleStages, silent


def elsewhere():
    text = StringIO()
    return text, ConsoleStages(Console(file=text, width=40))


def terminal(width):
    text = StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None)
    return text, ConsoleStages(console)


def test_elsewhere_a_long_stage_is_one_line_with_its_seconds(monkeypatch):
    text, show = elsewhere()
    clock = iter([0.0, 12.3])
    monkeypatch.setattr(stages, "perf_counter", lambda: next(clock))
    with show("decoding 3,775 images of a folder with a long name", 3775) as advance:
        advance(3775)
    assert text.getvalue() == "decoding 3,775 images of a folder with a long name: 12 s\n"


@pytest.mark.parametrize("make", [elsewhere, lambda: terminal(80)])
def test_a_short_stage_says_nothing(make):
    text, show = make()
    with show("decoding", 3) as advance:
        advance(3)
    assert text.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_shows_the_whole_name_and_the_time_left(monkeypatch, width):
    monkeypatch.setattr(stages, "SHORTEST", 0.0)
    text, show = terminal(width)
    name = "probe linear_10 of raw pixels, 10 draws"
    with show(name, 10) as advance:
        deadline = time.monotonic() + 60
        while "0%" not in text.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(5):
            advance(1)
            time.sleep(0.05)
        while "50%" not in text.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    shown = text.getvalue()
    assert "50%" in shown
    assert "…" not in shown
    assert all(word in shown for word in name.split())


@pytest.mark.parametrize("make", [elsewhere, lambda: terminal(80)])
def test_an_error_goes_through_and_ends_the_stage(monkeypatch, make):
    monkeypatch.setattr(stages, "SHORTEST", 0.0)
    text, show = make()
    with pytest.raises(KeyboardInterrupt), show("decoding", 3):
        raise KeyboardInterrupt
    assert "decoding: " not in text.getvalue()
    with show("the next one"):
        pass  # a bar that was left open would refuse another


def test_a_silent_stage_takes_the_same_calls():
    with silent("decoding", 3) as advance:
        advance(3)
